"""Records of every kind the predecessors wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.conversations import Entity
from configs.errors import ConfigError
from configs.instructions import Record, parse_roles, read_records

ROWS = [
    ({"instruction": "翻譯", "input": "貓", "output": "cat"}, ["翻譯\n貓"], ("cat",)),
    ({"instruct": "翻譯", "query": "貓", "answer": "cat"}, ["翻譯\n貓"], ("cat",)),
    ({"instruction": "說笑話", "input": "", "output": "好"}, ["說笑話"], ("好",)),
    ({"input": ["早", "你好嗎"], "output": ["早安", "好"]}, ["早", "早安", "你好嗎"], ("好",)),
    ({"input": ["早", "你好嗎"], "output": ["早安"]}, ["早", "早安", "你好嗎"], ()),
    (
        {"messages": [{"role": "user", "content": "早"}, {"role": "assistant", "content": "安"}]},
        ["早"],
        ("安",),
    ),
    ({"conversations": [{"from": "human", "value": "早"}, {"from": "gpt", "value": "安"}]}, ["早"], ("安",)),
    ({"input": "首都？", "output": ["台北", "台北市"]}, ["首都？"], ("台北", "台北市")),
    ({"system": "簡短", "input": "早"}, ["簡短", "早"], ()),
]


def read(tmp_path: Path, name: str, text: str, **settings: object) -> list[Record]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_records(path, **settings).rows


@pytest.mark.parametrize(("row", "texts", "references"), ROWS)
@pytest.mark.parametrize("kind", ["json", "jsonl", "txt"])
def test_every_shape_in_every_file(
    row: dict[str, object], texts: list[str], references: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    text = json.dumps([row] if kind == "json" else row, ensure_ascii=False)
    (record,) = read(tmp_path, f"a.{kind}", text)
    assert record.error == ""
    assert [message["content"] for message in record.messages] == texts
    assert record.references == references
    assert record.messages[-1]["role"] == "user"


def test_lines_of_text_and_an_instruction_before_them(tmp_path: Path) -> None:
    records = read(tmp_path, "a.txt", "第一句\n\n 第二句 \r\n{不是物件\n", instruction="摘要")
    assert [(record.id, record.asked) for record in records] == [
        ("1", "摘要\n第一句"), ("2", "摘要\n第二句"), ("3", "摘要\n{不是物件"),
    ]  # fmt: skip


def test_entities_of_the_msra_files(tmp_path: Path) -> None:
    row = {"text": "在北京", "entity_list": [{"entity_index": {"begin": 1}, "entity_type": "LOC", "entity": "北京"}]}
    (record,) = read(tmp_path, "a.txt", json.dumps(row, ensure_ascii=False))
    assert (record.asked, record.entities) == ("在北京", (Entity("北京", "LOC"),))


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ('{"input": ', "not valid JSON"),
        ('{"input": ""}', "there is nothing to ask"),
        ('{"input": {"a": 1}}', "a list stands where a text should"),
        ('{"input": ["a", "b"], "output": []}', "2 inputs do not go with 0 outputs"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "role 'assistant'"),
        ('{"messages": [{"role": "user", "content": 3}]}', "no text content"),
        ('{"messages": "a"}', "not a list of objects"),
        ('{"input": "\\ud83d"}', "surrogate"),
        ("[1]", "not an object"),
    ],
)
def test_a_bad_record_is_an_error_row_and_no_end(row: str, error: str, tmp_path: Path) -> None:
    bad, good = read(tmp_path, "a.jsonl", row + '\n{"input": "好"}\n')
    assert error in bad.error
    assert (good.asked, good.id) == ("好", "2")


def test_unknown_columns_are_named_and_can_be_named(tmp_path: Path) -> None:
    text = '{"task": "說", "matter": "貓", "note": "x"}'
    with pytest.raises(ConfigError, match="unknown column 'task'"):
        read(tmp_path, "a.jsonl", text)
    (record,) = read(tmp_path, "a.jsonl", text, roles=parse_roles("instruction=task, input=matter,ignore=note"))
    assert record.asked == "說\n貓"
    with pytest.raises(ConfigError, match="no column 'x'"):
        read(tmp_path, "a.jsonl", text, roles=parse_roles("input=x"))
    with pytest.raises(ConfigError, match="ROLE=COLUMN"):
        parse_roles("what=x")
    with pytest.raises(ConfigError, match="second column for input"):
        read(tmp_path, "b.jsonl", '{"input": "a", "query": "b"}')
    with pytest.raises(ConfigError, match="nothing to ask"):
        read(tmp_path, "c.jsonl", '{"output": "a"}')


def test_a_csv_of_instructions_keeps_its_ids(tmp_path: Path) -> None:
    records = read(tmp_path, "a.csv", "id,instruction,output\nx7,說,好\n,說二,\n")
    assert [(record.id, record.asked, record.references) for record in records] == [
        ("x7", "說", ("好",)),
        ("2", "說二", ()),
    ]


def test_one_damaged_record_makes_no_text_of_the_others(tmp_path: Path) -> None:
    records = read(tmp_path, "a.txt", '{"input": "甲"}\n{"input": "乙\n{"input": "丙"}\n')
    assert [(record.asked, bool(record.error)) for record in records] == [("甲", False), ("", True), ("丙", False)]


def test_a_record_is_asked_as_the_trainer_wrote_it(tmp_path: Path) -> None:
    """Every name that `trainer prepare` knows means the same here."""
    from trainer.datasets.conversations import chat_messages, instruction_messages

    rows = [
        {"question": " 譯 ", "context": "貓 ", "completion": "cat", "system_prompt": "短"},
        {"指令": "譯", "輸入": "貓", "輸出": "cat"},
        {"conversation": [{"from": "Human", "value": "早"}, {"from": "chatgpt", "value": "安"}]},
    ]
    words = [{"instruction": " 譯 ", "input": "貓 ", "output": "cat", "system": "短"}]
    wanted = [instruction_messages(words[0]), instruction_messages({**words[0], "system": ""})]
    wanted.append(chat_messages({"messages": rows[2]["conversation"]})[0])
    for row, messages in zip(rows, wanted, strict=True):
        (record,) = read(tmp_path, "a.jsonl", json.dumps(row))
        assert [*record.messages, {"role": "assistant", "content": record.references[0]}] == messages


def test_the_name_of_a_damaged_field_is_shown_in_one_short_line(tmp_path: Path) -> None:
    text = '{"input": "甲"}\n' + json.dumps({"input": "乙", "out\nput\x1b" + "長" * 99: "x"})
    with pytest.raises(ConfigError, match=r"record 2 has the unknown column 'out put長+…'"):
        read(tmp_path, "a.jsonl", text)


def test_rows_of_a_dataset_folder_are_dialogues(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "甲"}, {"role": "assistant", "content": "1"}]
    (record,) = read(tmp_path, "train.jsonl", json.dumps({"id": "7", "messages": messages, "exam": {"answer": 1}}))
    assert (record.id, record.asked, record.references) == ("7", "甲", ("1",))


@pytest.mark.shared
def test_the_real_msra_files(shared_data: Path) -> None:
    instructions, entities = (read_records(shared_data / "msra" / name).rows for name in ("dev.txt", "msra_1000.txt"))
    assert (len(instructions), len(entities)) == (1000, 1000)
    assert not any(record.error for record in [*instructions, *entities])
    assert all(record.references for record in instructions)
    assert all(record.entities is not None for record in entities)
