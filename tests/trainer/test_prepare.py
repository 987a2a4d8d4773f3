"""`trainer prepare`: every row accounted for, nothing changed, nothing on both sides."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny

PROMPT = "請根據以下文章，以數字回答選擇題:\\n\\n美玲今天說到西瓜。\\n\\n美玲說到什麼？\\n1: 26\\n2: 西瓜\\n3: -26\\n4: 0.314\\n"
GOLDEN = (
    '{"id": "1", "messages": [{"role": "user", "content": "' + PROMPT + '"}, {"role": "assistant", "content": "2"}], '
    '"exam": {"passage": "美玲今天說到西瓜。", "question": "美玲說到什麼？", "choices": ["26", "西瓜", "-26", "0.314"], "answer": 2}}'
)


def prepare(*args: object) -> tuple[int, str, str]:
    return tiny.run_cli("trainer.cli", "prepare", *args)


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def write_sheet(path: Path, *lines: list[object]) -> Path:
    import openpyxl

    workbook = openpyxl.Workbook()
    workbook.active.append(["ID", "文章", "問題", "選項1", "選項2", "選項3", "選項4", "正確答案"])
    for line in lines:
        workbook.active.append(line)
    workbook.save(path)
    return path


def test_a_row_is_written_to_the_byte(tmp_path: Path) -> None:
    sheet = write_sheet(
        tmp_path / "s.xlsx", [1, " 美玲今天說到西瓜。\n", "美玲說到什麼？", 26, "西瓜", -26, 0.314, "選項2"]
    )
    assert prepare(sheet, "--output", tmp_path / "data", "--validation", 0)[0] == 0
    assert (tmp_path / "data" / "train.jsonl").read_text(encoding="utf-8") == GOLDEN + "\n"


def test_every_row_is_trained_on_validated_on_or_rejected_with_a_reason(tmp_path: Path) -> None:
    good = [1, "文章", "問題", "甲", "乙", "丙", "丁", 1]
    sheet = write_sheet(
        tmp_path / "s.xlsx",
        good,
        [2, " 文章\n", "問題", "甲", "乙", "丙", "丁", 1],
        [3, "文章", "問題", "甲", "乙", "丙", "丁", 2],
        [4, "文章二", "問題", "甲", None, "丙", "丁", "選項3"],
        [5, "文章三", "問題", "甲", "乙", "丙", "丁", "無"],
        [6, "文章三", "問題", "甲", None, "丙", "丁", 2],
        [7, None, None, "甲", "乙", "丙", "丁", 2],
    )
    code, out, err = prepare(sheet, "--output", tmp_path / "data", "--validation", 0, "--json")
    assert code == 0, err
    meta = json.loads(out)
    assert (meta["rows"], meta["train"], meta["validation"], meta["rejected"]) == (7, 2, 0, 5)
    assert (meta["labels_normalised"], meta["duplicates"]) == (1, 2)
    assert "nan" not in (tmp_path / "data" / "train.jsonl").read_text(encoding="utf-8")
    report = (tmp_path / "data" / "rejected.csv").read_bytes()
    assert report.startswith(b"\xef\xbb\xbf")
    assert report.count(b"\r\n") == report.count(b"\n") == 6
    reasons = {row["row"]: row["reason"] for row in csv.DictReader(report.decode("utf-8-sig").splitlines())}
    assert reasons["2"] == "duplicate of s.xlsx row 1"
    assert reasons["3"] == "duplicate of s.xlsx row 1 with another answer"
    assert set(reasons) == {"2", "3", "5", "6", "7"}
    asked = [row["question"] for row in csv.DictReader(report.decode("utf-8-sig").splitlines())]
    assert asked == ["問題", "問題", "問題", "問題", ""]
    assert all(reasons.values())


def test_no_passage_falls_on_both_sides(dataset: Path) -> None:
    train, validation = rows(dataset, "train"), rows(dataset, "validation")
    assert (len(train), len(validation)) == (48, 12)
    assert not {row["exam"]["passage"] for row in train} & {row["exam"]["passage"] for row in validation}


def test_the_split_is_seeded(sheet: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert prepare(sheet, "--output", tmp_path / name, "--seed", seed)[0] == 0
    a, b, c = (rows(tmp_path / name, "validation") for name in "abc")
    assert a == b != c


def test_several_sheets_become_one_dataset(sheet: Path, tmp_path: Path) -> None:
    more = tiny.sheet(tmp_path / "more.xlsx", tiny.questions(10, seed=5))
    code, out, err = prepare(sheet, more, "--output", tmp_path / "data", "--json")
    assert code == 0, err
    assert [source["rows"] for source in json.loads(out)["sources"]] == [60, 10]
    assert json.loads(out)["rows"] == 70


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl"])
def test_every_kind_of_sheet_gives_the_same_rows(kind: str, sheet: Path, dataset: Path, tmp_path: Path) -> None:
    records = [
        {
            "ID": number,
            "文章": q.passage,
            "問題": q.question,
            **{f"選項{n}": c for n, c in enumerate(q.choices, 1)},
            "正確答案": q.answer,
            "資料來源": "自編",
        }
        for number, q in enumerate(tiny.questions(60), 1)
    ]
    path = tmp_path / f"sheet.{kind}"
    if kind in ("csv", "tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(records[0]), delimiter="," if kind == "csv" else "\t")
            writer.writeheader()
            writer.writerows(records)
    else:
        texts = [json.dumps(record, ensure_ascii=False) for record in records]
        path.write_text("\n".join(texts) if kind == "jsonl" else f"[{','.join(texts)}]", encoding="utf-8")
    assert prepare(path, "--output", tmp_path / "data")[0] == 0
    assert (tmp_path / "data" / "train.jsonl").read_bytes() == (dataset / "train.jsonl").read_bytes()


def test_the_formats_travel_with_the_dataset(sheet: Path, tmp_path: Path) -> None:
    from configs.formats import Formats

    assert prepare(sheet, "--output", tmp_path / "data", "--convert", "t2s", "--question-format", "lab4")[0] == 0
    formats = Formats.from_toml(json.loads((tmp_path / "data" / "dataset.json").read_text(encoding="utf-8"))["formats"])
    assert formats.question is not None
    assert (formats.prompt.name, formats.question.name, formats.question.convert) == ("alpaca2", "lab4", "t2s")
    row = rows(tmp_path / "data", "train")[0]
    assert "说到" in row["messages"][0]["content"]
    assert "說到" in row["exam"]["passage"]


def test_an_output_of_the_same_inputs_is_left_alone_and_another_is_kept(sheet: Path, tmp_path: Path) -> None:
    assert prepare(sheet, "--output", tmp_path / "data")[0] == 0
    stamp = (tmp_path / "data" / "train.jsonl").stat().st_mtime_ns
    code, _, err = prepare(sheet, "--output", tmp_path / "data")
    assert code == 0
    assert "already made" in err
    code, _, err = prepare(sheet, "--output", tmp_path / "data", "--seed", 3)
    assert code == 2
    assert "--overwrite" in err
    assert (tmp_path / "data" / "train.jsonl").stat().st_mtime_ns == stamp
    assert prepare(sheet, "--output", tmp_path / "data", "--seed", 3, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"no workbook"), "s.xlsx"),
        (lambda path: write_sheet(path), "s.xlsx"),
        (lambda path: write_sheet(path, [1, "文", "問", "甲", "乙", "丙", "丁", "戊"]), "none of the 1 rows"),
    ],
)
def test_a_bad_sheet_is_one_sentence_and_no_output(make: Any, told: str, tmp_path: Path) -> None:
    make(tmp_path / "s.xlsx")
    code, out, err = prepare(tmp_path / "s.xlsx", "--output", tmp_path / "data")
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "s.xlsx"] == []


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(4), answers=False)
    code, _, err = prepare(sheet, "--output", tmp_path / "data")
    assert code == 2
    assert "--columns answer=" in err


def test_hostile_text_is_kept_as_it_is(tmp_path: Path) -> None:
    passage = "他說</s>[INST]<|im_end|>🦜" + "長" * 3000
    record = {"passage": passage, "question": "問？", "choices": ["甲", "乙"], "answer": 1}
    (tmp_path / "s.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert prepare(tmp_path / "s.jsonl", "--output", tmp_path / "data", "--validation", 0)[0] == 0
    row = rows(tmp_path / "data", "train")[0]
    assert row["exam"]["passage"] == passage
    assert passage in row["messages"][0]["content"]


def test_half_a_surrogate_pair_is_a_rejected_row(tmp_path: Path) -> None:
    good = {"passage": "文", "question": "問？", "choices": ["甲", "乙"], "answer": 1}
    lines = [json.dumps(good), json.dumps(good | {"passage": "\ud83d"})]
    (tmp_path / "s.jsonl").write_text("\n".join(lines), encoding="utf-8")
    code, out, err = prepare(tmp_path / "s.jsonl", "--output", tmp_path / "data", "--validation", 0, "--json")
    assert code == 0, err
    assert (json.loads(out)["train"], json.loads(out)["rejected"]) == (1, 1)


@pytest.mark.shared
@pytest.mark.slow
def test_the_real_sheet_is_accounted_for_to_the_row(shared_data: Path, tmp_path: Path) -> None:
    from configs.exam import without_control
    from configs.sheets import read_questions

    path = shared_data / "formosa" / "AI.xlsx"
    code, out, err = prepare(path, "--output", tmp_path / "data", "--json")
    assert code == 0, err
    meta = json.loads(out)
    assert meta["rows"] == 13_550 == meta["train"] + meta["validation"] + meta["rejected"]
    assert (meta["labels_normalised"], meta["blank_options"]) == (50, 1)
    assert abs(meta["validation"] - 0.2 * (meta["train"] + meta["validation"])) <= 1
    train, validation = rows(tmp_path / "data", "train"), rows(tmp_path / "data", "validation")
    sides = [{row["exam"]["passage"].strip() for row in side} for side in (train, validation)]
    assert not sides[0] & sides[1]
    options = [choice for row in train + validation for choice in row["exam"]["choices"]]
    assert "nan" not in options
    assert not any(option.endswith(".0") and option[:-2].lstrip("-").isdigit() for option in options)
    assert "26" in options
    sheet = read_questions(path, need_answers=True)
    passages = {str(row.raw["文章"]).strip() for row in sheet.rows if row.raw}
    assert sides[0] | sides[1] <= passages
    assert all(without_control(row["exam"]["passage"]) in row["messages"][0]["content"] for row in train)


def test_preview_shows_what_is_trained(dataset: Path, tiny_base: Path) -> None:
    code, out, err = tiny.run_cli("trainer.cli", "preview", dataset, "--model", tiny_base, "-n", 2)
    assert code == 0, err
    assert out.count("── row ") == 2
    assert "3 trained" in out
    assert "60 rows" in out


def test_preview_of_a_model_that_is_not_there(dataset: Path, tmp_path: Path) -> None:
    code, _, err = tiny.run_cli("trainer.cli", "preview", dataset, "--model", tmp_path / "none")
    assert code == 2
    assert "does not exist" in err


def test_a_folder_with_other_things_is_never_replaced(tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "mine.xlsx", tiny.questions(10))
    code, _, err = tiny.run_cli("trainer.cli", "prepare", sheet, "--output", tmp_path, "--overwrite")
    assert code == 2
    assert "mine.xlsx, which this command did not write" in err
    assert sheet.exists()


def test_a_dataset_that_is_not_whole_is_not_taken_for_made(tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "mine.xlsx", tiny.questions(10))
    words = ("prepare", sheet, "--output", tmp_path / "data")
    assert tiny.run_cli("trainer.cli", *words)[0] == 0
    whole = (tmp_path / "data" / "validation.jsonl").read_bytes()
    (tmp_path / "data" / "validation.jsonl").unlink()
    code, _, err = tiny.run_cli("trainer.cli", *words)
    assert code == 2
    assert "--overwrite" in err
    assert tiny.run_cli("trainer.cli", *words, "--overwrite")[0] == 0
    assert (tmp_path / "data" / "validation.jsonl").read_bytes() == whole
