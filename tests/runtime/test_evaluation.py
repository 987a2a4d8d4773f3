"""Grading: by ID, in order where IDs repeat, with what is missing and what is too much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.accuracy import Accuracy
from configs.exam import Question
from tests import tiny

GOLD = "ID,文章,問題,選項1,選項2,選項3,選項4,正確答案\n"


def gold(folder: Path, rows: list[tuple[str, str]]) -> Path:
    path = folder / "gold.csv"
    lines = [f"{identity},短文{place},哪個？,甲,乙,丙,丁,{label}\n" for place, (identity, label) in enumerate(rows)]
    path.write_text(GOLD + "".join(lines), encoding="utf-8")
    return path


def grade(folder: Path, rows: list[tuple[str, str]], answers: str) -> dict[str, object]:
    path = folder / "answers.csv"
    path.write_bytes(answers.encode())
    code, out, _ = tiny.run_cli("runtime.cli", "evaluate", path, "--sheet", gold(folder, rows), "--json")
    assert code == 0
    return json.loads(out)


def test_accuracy_counts_and_confusion(tmp_path: Path) -> None:
    rows = [("a", "1"), ("b", "2"), ("c", "選項3"), ("d", "4")]
    result = grade(tmp_path, rows, "ID,Answer\r\na,1\r\nb,1\r\nc,3\r\nd,\r\n")
    assert result["accuracy"] == 0.5
    assert result["confusion"]["2"] == {"1": 1, "2": 0, "3": 0, "4": 0, "-": 0}
    assert result["confusion"]["4"]["-"] == 1
    assert result["labels"]["1"] == {"gold": 1, "answered": 2, "correct": 1}
    assert result["missing"] == result["extra"] == []


def test_repeated_ids_are_matched_in_order(tmp_path: Path) -> None:
    rows = [("7", "1"), ("7", "2"), ("8", "3")]
    assert grade(tmp_path, rows, "ID,Answer\r\n7,1\r\n7,2\r\n8,3\r\n")["accuracy"] == 1.0
    assert grade(tmp_path, rows, "ID,Answer\r\n8,3\r\n7,1\r\n7,2\r\n")["accuracy"] == 1.0
    assert grade(tmp_path, rows, "ID,Answer\r\n7,2\r\n7,1\r\n8,3\r\n")["accuracy"] == pytest.approx(1 / 3)


def test_missing_and_extra_rows_are_named(tmp_path: Path) -> None:
    rows = [("a", "1"), ("b", "2"), ("c", "3")]
    result = grade(tmp_path, rows, "ID,Answer\r\na,1\r\nz,2\r\na,1\r\n")
    assert (result["missing"], result["extra"]) == (["b", "c"], ["a", "z"])
    assert result["accuracy"] == pytest.approx(1 / 3)
    code, out, _ = tiny.run_cli("runtime.cli", "evaluate", tmp_path / "answers.csv", "--sheet", tmp_path / "gold.csv")
    assert code == 0
    assert "2 rows of the sheet have no answer in the CSV: b, c" in out
    (tmp_path / "answers.csv").write_text("ID,Answer\na,1\n")
    _, out, _ = tiny.run_cli("runtime.cli", "evaluate", tmp_path / "answers.csv", "--sheet", tmp_path / "gold.csv")
    assert "the CSV has 1 rows, the sheet 3" in out


def test_rows_without_a_label_are_left_out_and_named(tmp_path: Path) -> None:
    result = grade(tmp_path, [("a", "1"), ("b", "")], "ID,Answer\r\na,1\r\nb,2\r\n")
    assert (result["labelled"], result["accuracy"], result["without_label"]) == (1, 1.0, ["b"])


def test_the_full_csv_grades_like_the_kaggle_one(sheet: Path, models: Path, tmp_path: Path) -> None:
    shares = []
    for columns in ("kaggle", "full"):
        output = tmp_path / f"{columns}.csv"
        flags = ["--model", models / "model.gguf", "--output", output, "--columns", columns, "--json", "--threads", 1]
        _, out, _ = tiny.run_cli("runtime.cli", "predict", sheet, *flags)
        _, graded, _ = tiny.run_cli("runtime.cli", "evaluate", output, "--sheet", sheet, "--json")
        shares += [json.loads(out)["accuracy"], json.loads(graded)["accuracy"]]
    assert len(set(shares)) == 1


def test_a_formula_like_id_survives_the_full_csv(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(GOLD + "=1+1,短文,哪個？,甲,乙,丙,丁,1\n", encoding="utf-8")
    output = tmp_path / "a.csv"
    flags = ["--model", models / "model.gguf", "--output", output, "--columns", "full", "--threads", 1]
    assert tiny.run_cli("runtime.cli", "predict", path, *flags)[0] == 0
    assert b"\r\n'=1+1," in output.read_bytes()
    _, out, _ = tiny.run_cli("runtime.cli", "evaluate", output, "--sheet", path, "--json")
    assert json.loads(out)["missing"] == []


def test_a_csv_without_its_columns_is_exit_2(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    sheet = tiny.sheet(tmp_path / "gold.xlsx", [Question("文", "問", ("甲", "乙", "丙", "丁"), 1)])
    code, _, err = tiny.run_cli("runtime.cli", "evaluate", tmp_path / "a.csv", "--sheet", sheet)
    assert code == 2
    assert "it needs ID and Answer" in err


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341), (290, 400, 0.67927, 0.76645)],
)
def test_wilsons_interval(correct: int, total: int, low: float, high: float) -> None:
    assert Accuracy(correct, total).interval == pytest.approx((low, high), abs=1e-4)


def test_labels_of_another_question_format_are_read_by_it(tmp_path: Path) -> None:
    from configs.exam import QuestionFormat

    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(8))
    reversed_labels = QuestionFormat.load("formosa").model_copy(update={"name": "mine", "labels": ("D", "C", "B", "A")})
    (tmp_path / "mine.toml").write_text(reversed_labels.to_toml(), encoding="utf-8")
    lines = [f"{number},{'DCBA'[question.answer - 1]}" for number, question in enumerate(tiny.questions(8), 1)]
    (tmp_path / "a.csv").write_text("\r\n".join(["ID,Answer", *lines]))
    words = ("evaluate", tmp_path / "a.csv", "--sheet", sheet, "--json")
    _, out, _ = tiny.run_cli("runtime.cli", *words, "--question-format", tmp_path / "mine.toml")
    assert json.loads(out)["accuracy"] == 1.0
    (tmp_path / "b.csv").write_text("\r\n".join(["ID,Answer", "1,甲", *lines[1:]]))
    code, out, err = tiny.run_cli("runtime.cli", "evaluate", tmp_path / "b.csv", "--sheet", sheet, "--json")
    assert code == 1
    assert json.loads(out)["unnamed"] == ["1"]
    assert "--question-format" in err


def test_a_full_csv_tells_its_own_labels(tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(8))
    lines = [f"{number},{question.answer - 1}" for number, question in enumerate(tiny.questions(8), 1)]
    (tmp_path / "a.csv").write_text("\r\n".join(["ID,Answer,P(0),P(1),P(2),P(3)", *(f"{line},,,," for line in lines)]))
    code, out, _ = tiny.run_cli("runtime.cli", "evaluate", tmp_path / "a.csv", "--sheet", sheet, "--json")
    assert (code, json.loads(out)["accuracy"]) == (0, 1.0)


def test_answers_kept_in_a_workbook_or_with_semicolons(tmp_path: Path) -> None:
    import openpyxl

    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(4))
    answers = [(number, question.answer) for number, question in enumerate(tiny.questions(4), 1)]
    book = openpyxl.Workbook()
    for line in [("ID", "Answer"), *answers]:
        book.active.append(line)
    book.save(tmp_path / "a.xlsx")
    (tmp_path / "a.csv").write_text(
        "\ufeffID;Answer\r\n" + "".join(f"{a};{b}\r\n" for a, b in answers), encoding="utf-8"
    )
    for name in ("a.xlsx", "a.csv"):
        _, out, err = tiny.run_cli("runtime.cli", "evaluate", tmp_path / name, "--sheet", sheet, "--json")
        assert json.loads(out)["accuracy"] == 1.0, err


def test_a_sheet_without_labels_names_the_flag_of_this_command(tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(2), answers=False)
    (tmp_path / "a.csv").write_text("ID,Answer\r\n1,1\r\n")
    code, _, err = tiny.run_cli("runtime.cli", "evaluate", tmp_path / "a.csv", "--sheet", sheet)
    assert code == 2
    assert "--sheet-columns answer=COLUMN" in err
