"""Reading: every layout of a file, every way a row can be wrong, and memory that stays where it is."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs import encodings, entity
from configs.errors import ConfigError
from tests import tiny
from trainer.datasets import reading

PAIR = {"instruction": "問？", "output": "答。"}


def prepare(*args: object) -> tuple[int, str, str]:
    return tiny.run_cli("trainer.cli", "prepare", *args)


def prepared(folder: Path, *args: object) -> dict[str, Any]:
    code, out, err = prepare(*args, "--output", folder, "--validation", 0, "--json")
    assert code == 0, err
    meta: dict[str, Any] = json.loads(out)
    assert meta["rows"] == meta["train"] + meta["validation"] + meta["rejected"]
    return meta


def rows(folder: Path, name: str = "train") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def reasons(folder: Path) -> dict[str, str]:
    text = (folder / "rejected.csv").read_text(encoding="utf-8-sig")
    return {line["row"]: line["reason"] for line in csv.DictReader(text.splitlines())}


def jsonl(path: Path, *records: Any) -> Path:
    lines = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("record", "asked"),
    [
        ({"instruction": "翻譯。", "input": "天氣。", "output": "答"}, "翻譯。\n天氣。"),
        ({"instruct": "翻譯。", "query": "天氣。", "answer": "答"}, "翻譯。\n天氣。"),
        ({"instruction": "翻譯。", "input": "", "output": "答"}, "翻譯。"),
        ({"Prompt": "翻譯。", "Response": "答"}, "翻譯。"),
        ({"問題": "翻譯。", "回答": "答"}, "翻譯。"),
    ],
)
def test_instructions_go_by_several_names(record: dict[str, str], asked: str, tmp_path: Path) -> None:
    meta = prepared(tmp_path / "data", jsonl(tmp_path / "a.jsonl", record))
    assert meta["format"] == "instruction"
    assert rows(tmp_path / "data")[0]["messages"] == [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": "答"},
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": r, "content": c} for r, c in (("user", "一"), ("assistant", "二"), ("user", "三"), ("assistant", "四"))]},
        {"conversations": [{"from": r, "value": c} for r, c in (("human", "一"), ("gpt", "二"), ("human", "三"), ("gpt", "四"))]},
        {"conversations": [{"value": c, "from": r} for r, c in (("gpt", "零"), ("user", "一"), ("assistant", "二"), ("human", "三"), ("gpt", "四"), ("human", "五"))]},
        {"input": ["一", "三"], "output": ["二", "四"]},
    ],
)  # fmt: skip
def test_dialogues_go_by_several_layouts(record: dict[str, Any], tmp_path: Path) -> None:
    meta = prepared(tmp_path / "data", jsonl(tmp_path / "a.jsonl", record))
    assert meta["format"] == "chat"
    said = [(part["role"], part["content"]) for part in rows(tmp_path / "data")[0]["messages"]]
    assert said == [("user", "一"), ("assistant", "二"), ("user", "三"), ("assistant", "四")]
    assert meta["turns_cut"] == (2 if len(next(iter(record.values()))) == 6 else 0)


def turns(*said: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def test_every_row_that_is_no_dialogue_has_its_reason(tmp_path: Path) -> None:
    good = turns(("user", "一"), ("assistant", "二"))
    path = jsonl(
        tmp_path / "a.jsonl",
        good,
        turns(("user", "一"), ("user", "二"), ("assistant", "三")),
        turns(("user", "一"),),
        turns(("user", "一"), ("tool", "二"), ("assistant", "三")),
        turns(("user", "一"), ("assistant", " ")),
        turns(("user", "一"), ("assistant", {"call": 1})),
        {"messages": [{"role": "user", "content": "一", "tool_calls": []}]},
        {"messages": "一"},
        "{broken",
        '["no object"]',
        '{"messages": [{"role": "user", "content": "\\ud83d"}, {"role": "assistant", "content": "二"}]}',
        good,
        {"messages": None},
        {"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": "二"}]},
        {"messages": [{"role": "user", "content": "三", "name": None}, {"role": "assistant", "content": "二", "name": None}]},
    )  # fmt: skip
    meta = prepared(tmp_path / "data", path)
    told = reasons(tmp_path / "data")
    assert meta["train"] == 2
    assert rows(tmp_path / "data")[1]["messages"][0] == {"role": "user", "content": "三"}, "an empty field is none"
    assert told == {
        "2": "turn 2 is the user's, as is the one before it",
        "3": "no question with a reply",
        "4": "turn 2 is of 'tool', who is not user or assistant",
        "5": "turn 2 is empty",
        "6": "turn 2 is no text",
        "7": "turn 1 has role, content, tool_calls instead of role and content, or from and value",
        "8": "the messages are no list",
        "9": told["9"],
        "10": "not an object with named fields",
        "11": "turn 1 holds half of a surrogate pair",
        "13": "the messages are no list",
        "14": "turn 1 is empty",
        "12": "duplicate of a.jsonl row 1",
    }
    assert told["9"].startswith("not valid JSON")


def test_entities_are_asked_in_the_predecessors_words(tmp_path: Path) -> None:
    entities = [{"entity": e, "entity_type": t} for e, t in (("王明", "PER"), ("台北", "LOC"), ("王明", "PER"))]
    path = jsonl(
        tmp_path / "a.txt",
        {"text": "王明在台北，王明很好。", "entity_list": entities},
        {"text": "沒有人。", "entity_list": []},
        {"text": "他在火星。", "entity_list": [{"entity": "火星", "entity_type": "PLANET"}]},
        {"text": "他在這裡。", "entity_list": [{"entity": "那裡", "entity_type": "LOC"}]},
    )
    meta = prepared(tmp_path / "data", path)
    assert (meta["format"], meta["entities"]) == ("entities", {"人名": 2, "地名": 1})
    messages = [row["messages"] for row in rows(tmp_path / "data")]
    assert messages[0][0]["content"] == (
        "你现在是一个实体识别模型，你需要提取文本里面的人名、地名、机构名，如果存在结果，返回'实体_实体类型'，不同实体间用\n"
        "分隔。如果没有结果，回答'没有'。\n文本：王明在台北，王明很好。"
    )
    assert [part[1]["content"] for part in messages] == ["王明_人名\n台北_地名", "没有"]
    assert list(reasons(tmp_path / "data")) == ["3", "4"]
    assert "'PLANET'; question format msra has PER, LOC, ORG" in reasons(tmp_path / "data")["3"]


@pytest.mark.shared
def test_the_real_entity_files_agree_on_the_wording(shared_data: Path, tmp_path: Path) -> None:
    made = prepared(tmp_path / "a", shared_data / "msra" / "msra_1000.txt")
    written = prepared(tmp_path / "b", shared_data / "msra" / "dev.txt")
    assert (made["format"], made["train"], made["rejected"]) == ("entities", 1_000, 0)
    assert (written["format"], written["rows"]) == ("instruction", 1_000)
    ours = {row["messages"][0]["content"]: row["messages"][1]["content"] for row in rows(tmp_path / "a")}
    theirs = {row["messages"][0]["content"]: row["messages"][1]["content"] for row in rows(tmp_path / "b")}
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 100
    assert all(ours[asked].split("\n") == theirs[asked].split("\n") for asked in shared)


def test_what_is_held_out_is_asked_and_graded_as_it_would_be_trained(tmp_path: Path) -> None:
    from configs.instructions import read_records

    entities = [{"entity": "王明", "entity_type": "PER"}]
    one = jsonl(tmp_path / "a.jsonl", {"text": "王明來了。", "entity_list": entities})
    two = jsonl(
        tmp_path / "b.jsonl", {"input": ["一", "三"], "output": ["二", "四"]}, {"input": ["五"], "output": ["六"]}
    )
    prepared(tmp_path / "data", one, two)
    written = rows(tmp_path / "data")
    for row, record in zip(written, read_records(tmp_path / "data" / "train.jsonl").rows, strict=True):
        assert not record.error
        assert list(record.messages) == row["messages"][:-1]
        assert record.references == (row["messages"][-1]["content"],)


@pytest.mark.shared
def test_the_real_corpus_is_read_line_by_line(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "tibetan" / "data.txt"
    meta = prepared(tmp_path / "data", path)
    lines = [line.strip() for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    assert [row["text"] for row in rows(tmp_path / "data")] == lines
    assert (meta["format"], meta["characters"]["sum"]) == ("text", sum(map(len, lines)))


def test_json_arrays_are_read_like_lines(tmp_path: Path) -> None:
    records = [{"instruction": f"問{number}" + "長" * (number * 4_000), "output": "答"} for number in range(60)]
    array = tmp_path / "a.json"
    array.write_text(json.dumps(records, ensure_ascii=False, indent=1), encoding="utf-8")
    prepared(tmp_path / "array", array)
    prepared(tmp_path / "lines", jsonl(tmp_path / "a.jsonl", *records))
    assert (tmp_path / "array" / "train.jsonl").read_bytes() == (tmp_path / "lines" / "train.jsonl").read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), st.text(max_size=9), st.lists(st.booleans()))),
        min_size=1,
    ).filter(any),
    indent=st.sampled_from([None, 0, 3]),
    chunk=st.integers(1, 40),
)
def test_an_array_is_cut_anywhere_and_read_whole(
    values: list[dict[str, Any]], indent: int | None, chunk: int, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(values, indent=indent) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK", chunk)
        records = list(reading.open_source(tmp_path / "a.json").records())
    assert [record.cells for record in records] == values
    assert [record.number for record in records] == list(range(1, len(values) + 1))


@pytest.mark.parametrize(
    "text", ["[{}", '[{"instruction": "a", "output": "b"} {}]', '[{"instruction": ', '{"a": 1}', "[1e999x]"]
)
def test_a_broken_json_file_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    code, _, err = prepare(tmp_path / "a.json", "--output", tmp_path / "data")
    assert code == 2
    assert "a.json" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ('{"a" 1}', "Expecting ':' delimiter"),
        ('{"a": 1, "a": 2}', "the field 'a' stands twice"),
        ("{}x", "it does not go on"),
    ],
)
def test_of_an_array_that_is_broken_no_more_is_read_than_shows_it(broken: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"text": "一"},\n' + broken + ',{"text": "二"}' * 100_000 + "]", encoding="utf-8")
    read = 0

    class Counted(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            nonlocal read
            piece = super().read(size)
            read += len(piece)
            return piece

    with pytest.raises(ConfigError, match="record 2: ") as caught, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK", 1000)
        list(reading._array_items(Counted(path.read_text(encoding="utf-8")), path))
    assert told in str(caught.value)
    assert read < 5000


@pytest.mark.parametrize(
    ("record", "more", "told"),
    [
        ({**PAIR, "mood": "好"}, (), "unknown column 'mood' for the format instruction"),
        ({"foo": "一", "bar": "二"}, (), "cannot tell what"),
        ({"foo": "一", "bar": "二"}, ("--format", "instruction"), "unknown column 'foo'"),
        (PAIR, ("--format", "instruction", "--columns", "passage=output"), "no role 'passage'"),
        (PAIR, ("--columns", "output=nowhere"), "no such column"),
        (PAIR, ("--format", "chat"), "unknown column 'instruction' for the format chat"),
        ({**PAIR, "prompt": "又"}, (), "two columns for instruction: 'instruction' and 'prompt'"),
        (PAIR, ("--question-format", "formosa"), "no source is asked in one"),
        (PAIR, ("--convert", "t2s"), "--convert is for exam questions"),
        (PAIR, ("--max-length", "9"), "--model BASE"),
        (PAIR, ("--encoding", "klingon"), "no encoding 'klingon'"),
        ({"text": "一", "entity_list": []}, ("--question-format", "formosa"), "no question format for entities 'formosa'"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_an_error_that_names_what_is(
    record: dict[str, Any], more: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    code, _, err = prepare(jsonl(tmp_path / "a.jsonl", record), "--output", tmp_path / "data", *more)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_column_that_comes_later_is_known_or_an_error(tmp_path: Path) -> None:
    late = jsonl(tmp_path / "a.jsonl", PAIR, {**PAIR, "system": "你是老師。"})
    prepared(tmp_path / "data", late)
    assert rows(tmp_path / "data")[1]["messages"][0] == {"role": "system", "content": "你是老師。"}
    code, _, err = prepare(jsonl(tmp_path / "b.jsonl", PAIR, {**PAIR, "mood": 1}), "--output", tmp_path / "b")
    assert code == 2
    assert "record 2 has the unknown column 'mood'" in err
    prepared(tmp_path / "b", tmp_path / "b.jsonl", "--columns", "ignore=mood")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_text_in_other_encodings_is_read(encoding: str, tmp_path: Path) -> None:
    text = "这是一个测试，天气很好。"
    (tmp_path / "a.txt").write_text(f"{text}\n\n  \n{text}完\n", encoding=encoding)
    prepared(tmp_path / "data", tmp_path / "a.txt")
    assert [row["text"] for row in rows(tmp_path / "data")] == [text, text + "完"]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "cp950", "utf-16"])
def test_no_encoding_has_the_whole_file_in_memory(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encodings, "_SAMPLE_BYTES", 10_000)
    path = tmp_path / "a.txt"
    with path.open("w", encoding=encoding) as file:
        file.writelines(f"{number}天地玄黃宇宙洪荒" * 100 + "\n" for number in range(500))
    size = path.stat().st_size
    tracemalloc.start()
    try:
        count = sum(1 for _ in reading.open_source(path).records())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (count, size > 800_000) == (500, True)
    assert peak < size / 4


def test_sources_are_mixed_by_weight_and_counted(tmp_path: Path) -> None:
    few = jsonl(tmp_path / "few.jsonl", *({"text": f"甲{number}"} for number in range(30)))
    many = jsonl(tmp_path / "many.jsonl", *({"text": f"乙{number}"} for number in range(200)))
    meta = prepared(tmp_path / "a", f"{few}=3", f"{many}=4")
    assert [(source["train"], source["rejected"], source["weight"]) for source in meta["sources"]] == [
        (30, 0, "3"),
        (40, 160, "4"),
    ]
    assert (meta["train"], meta["left_out_by_weights"]) == (70, 160)
    assert set(reasons(tmp_path / "a").values()) == {"left out by the weights"}
    assert prepared(tmp_path / "b", f"{few}=3", f"{many}=4")["sha256"] == meta["sha256"]
    assert prepared(tmp_path / "c", f"{few}=3", f"{many}=4", "--seed", 1)["sha256"] != meta["sha256"]


def test_entities_are_counted_in_the_rows_that_are_taken(tmp_path: Path) -> None:
    entity = [{"entity": "甲", "entity_type": "PER"}]
    one = jsonl(tmp_path / "a.jsonl", *({"text": f"甲{number}", "entity_list": entity} for number in range(20)))
    two = jsonl(tmp_path / "b.jsonl", *({"text": f"乙{number}"} for number in range(3)))
    meta = prepared(tmp_path / "data", f"{one}=1", f"{two}=1")
    assert (meta["train"], meta["entities"]) == (6, {"人名": 3})


def test_entity_texts_are_split_by_the_texts_whatever_words_stand_around_them(tmp_path: Path) -> None:
    wording = (Path(entity.__file__).parent / "entities" / "msra.toml").read_text(encoding="utf-8")
    wording = wording.replace(
        "文本：{{ text }}", "文本：{{ text }}\n" + "請把上面文章裡所有的人名地名和機構名都列出來" * 4
    )
    (tmp_path / "words.toml").write_text(wording.replace('"msra"', '"mine"'), encoding="utf-8")
    start = "這一篇文章開頭的五十個字都一樣而且很長很長" * 3
    texts = [*(f"{number}甲在台北" for number in range(18)), *(f"{start}{number}" for number in range(2))]
    path = jsonl(tmp_path / "a.jsonl", *({"text": text, "entity_list": []} for text in texts))
    code, out, err = prepare(
        path, "--output", tmp_path / "data", "--question-format", tmp_path / "words.toml", "--validation", 0.3, "--json"
    )
    assert code == 0, err
    assert json.loads(out)["validation"] == 6
    sides = [[start in row["messages"][0]["content"] for row in rows(tmp_path / "data", name)].count(True)
             for name in ("train", "validation")]  # fmt: skip
    assert sorted(sides) == [0, 2]


def test_instructions_that_all_end_in_one_wording_are_split_by_the_rest(tmp_path: Path) -> None:
    wording = "請只回答一個整數，不要附加任何解釋，也不要重複題目的內容，更不要加上任何標點符號或單位，謝謝你的合作與耐心配合，祝你順利。"
    records = [
        {"instruction": f"城市{number % 40}的人口是多少？{wording}", "output": f"{number}"} for number in range(80)
    ]
    code, _, err = prepare(jsonl(tmp_path / "a.jsonl", *records), "--output", tmp_path / "data", "--validation", 0.2)
    assert code == 0, err
    assert [len(rows(tmp_path / "data", side)) for side in ("train", "validation")] == [64, 16]
    asked = [
        {row["messages"][0]["content"] for row in rows(tmp_path / "data", side)} for side in ("train", "validation")
    ]
    assert not asked[0] & asked[1]


def test_kinds_are_mixed_and_duplicates_found_across_files(tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "sheet.xlsx", tiny.questions(4))
    first = jsonl(tmp_path / "a.jsonl", PAIR)
    second = jsonl(
        tmp_path / "b.jsonl",
        {"messages": [{"role": "user", "content": "問？"}, {"role": "assistant", "content": "答。"}]},
    )
    text = jsonl(tmp_path / "c.txt", "生文字。")
    meta = prepared(tmp_path / "data", sheet, first, second, text)
    assert meta["format"] == "chat+exam+instruction+text"
    assert (meta["train"], meta["duplicates"]) == (6, 1)
    assert list(reasons(tmp_path / "data").values()) == ["duplicate of a.jsonl row 1"]


def test_rows_that_do_not_fit_the_model_are_left_out_when_it_is_named(tiny_base: Path, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", PAIR, {**PAIR, "instruction": "長" * 500})
    meta = prepared(tmp_path / "data", path, "--model", tiny_base, "--max-length", 200)
    assert (meta["train"], meta["max_length"], meta["truncated"]) == (1, 200, 0)
    assert reasons(tmp_path / "data") == {"2": "does not fit 200 tokens"}
    assert 0 < meta["tokens"]["longest"] <= 200


def test_a_person_is_told_what_was_cut_and_what_both_sides_share(tiny_base: Path, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *({"text": f"第{number}篇"} for number in range(10)))
    code, out, err = prepare(path, "--output", tmp_path / "data", "--model", tiny_base)
    assert code == 0, err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "truncated 0" in lines
    assert "leakage 0 of 2 validation rows begin like a training row" in lines


def test_the_same_again_is_already_made_and_another_option_is_not(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", PAIR, {"instruction": "二", "output": "三"})
    words = (path, "--output", tmp_path / "data", "--validation", 0)
    assert prepare(*words)[0] == 0
    assert "already made" in prepare(*words, "--format", "instruction")[2]
    late = jsonl(tmp_path / "late.jsonl", PAIR, {**PAIR, "instruction": "三", "mood": "四"})
    of_late = (late, "--output", tmp_path / "late", "--validation", 0, "--columns")
    assert prepare(*of_late, "ignore=mood")[0] == 0
    assert "already made" in prepare(*of_late, "ignore=mood")[2]
    assert prepare(*of_late, "system=mood")[0] == 2, "a column that only a later record has counts too"
    for other in (("--seed", 1), ("--prompt-format", "vicuna"), ("--columns", "ignore=output,output=instruction")):
        assert prepare(*words, *other)[0] == 2
    jsonl(path, PAIR)
    assert prepare(*words)[0] == 2


def peak_megabytes(*args: object) -> float:
    # The high water mark of this program alone: ru_maxrss begins with that of the process that started it.
    program = (
        "import sys; from trainer.cli import main; code = main(); "
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "prepare", *map(str, args), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) / 1024


def write_corpus(path: Path, size: int, line: Callable[[int], str]) -> None:
    number = written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            text = line(number)
            written += len(text.encode()) + 1
            number += 1
            file.write(text + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corpus.txt", "chat.jsonl"])
def test_a_gigabyte_takes_no_more_memory_than_a_hundredth_of_it(name: str, tmp_path: Path) -> None:
    words = "春夏秋冬山川河海日月星辰風花雪" * 30

    def line(number: int) -> str:
        start = number * 7 % 400
        text = f"{number}：{words[start : start + 40]}{number * number}{words[:300]}"
        if name.endswith(".txt"):
            return text
        return json.dumps({"input": [text], "output": [str(number)]}, ensure_ascii=False)

    peaks = []
    for size in (10_000_000, 1_000_000_000):
        write_corpus(tmp_path / name, size, line)
        peaks.append(peak_megabytes(tmp_path / name, "--output", tmp_path / f"data-{size}"))
    assert peaks[0] < 100
    assert peaks[1] < 200  # the cache of what was seen may fill its 64 MiB, the split its counts
