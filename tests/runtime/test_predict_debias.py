"""`runtime predict --debias`: through the command, the journal and the CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from configs.exam import Question
from tests import tiny


def predict(*words: object) -> tuple[int, dict[str, Any], str]:
    code, out, err = tiny.run_cli("runtime.cli", "predict", *words, "--json", "--threads", 1)
    return code, json.loads(out) if out else {}, err


@pytest.fixture(scope="module")
def model(models: Path) -> Path:
    return models / "model.gguf"


def records(journal: Path) -> dict[str, list[list[float]]]:
    found = [json.loads(line) for line in journal.read_text().splitlines()]
    return {record["key"]: record["scores"] for record in found if "scores" in record}


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))


def turned(question: Question) -> Question:
    """The same question with its options one place on."""
    answer = question.answer % len(question.choices) + 1 if question.answer else None
    return Question(question.passage, question.question, (question.choices[-1], *question.choices[:-1]), answer)


def test_cyclic_answers_do_not_depend_on_where_an_option_stands(model: Path, tmp_path: Path) -> None:
    questions = tiny.questions(12)
    for name, rows in (("a", questions), ("b", [turned(question) for question in questions])):
        sheet = tiny.sheet(tmp_path / f"{name}.xlsx", rows)
        code, summary, _ = predict(
            sheet, "--model", model, "--output", tmp_path / f"{name}.csv", "--columns", "full", "--debias", "cyclic"
        )
        assert (code, summary["rows"]) == (0, 12)
    first, second = rows_of(tmp_path / "a.csv"), rows_of(tmp_path / "b.csv")
    assert [row["Chosen"] for row in first] == [row["Chosen"] for row in second]
    assert all(row["FlipRate"] in {"0.000000", "0.250000", "0.500000", "0.750000"} for row in first)
    for one, other in zip(first, second, strict=True):
        assert float(one["P(1)"]) == pytest.approx(float(other["P(2)"]), abs=0.01)
    assert {len(scores) for scores in records(tmp_path / "a.csv.journal.jsonl").values()} == {4}


def test_a_journal_of_another_debias_is_refused(model: Path, sheet: Path, tmp_path: Path) -> None:
    predict(sheet, "--model", model, "--output", tmp_path / "a.csv")
    code, _, err = predict(sheet, "--model", model, "--output", tmp_path / "a.csv", "--debias", "cyclic")
    assert code == 2
    assert "a run with other debias" in err


def test_pride_asks_a_sample_in_several_orders(model: Path, tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(30))
    words = ("--model", model, "--output", tmp_path / "a.csv", "--columns", "full", "--debias", "pride")
    code, summary, _ = predict(sheet, *words)
    assert (code, summary["computed"]) == (0, 30)
    counts = [len(scores) for scores in records(tmp_path / "a.csv.journal.jsonl").values()]
    assert (counts.count(4), counts.count(1)) == (20, 10)
    assert sum(row["FlipRate"] == "" for row in rows_of(tmp_path / "a.csv")) == 10
    plain = tmp_path / "plain.csv"
    predict(sheet, "--model", model, "--output", plain, "--columns", "full")
    alike = [
        one["P(1)"] == other["P(1)"]
        for one, other in zip(rows_of(tmp_path / "a.csv"), rows_of(plain), strict=True)
        if one["FlipRate"] == ""
    ]
    assert not any(alike)  # the favour for a label was taken off


def test_a_longer_sheet_keeps_what_its_own_sample_can_use(model: Path, tmp_path: Path) -> None:
    questions = tiny.questions(40, seed=3)
    output = tmp_path / "a.csv"
    words = ("--model", model, "--debias", "pride", "--columns", "full")
    predict(tiny.sheet(tmp_path / "short.xlsx", questions[:30]), *words, "--output", output)
    longer = tiny.sheet(tmp_path / "longer.xlsx", questions)
    code, summary, _ = predict(longer, *words, "--output", output, "--overwrite")
    assert code == 0
    assert 0 < summary["computed"] < 40
    fresh = tmp_path / "fresh.csv"
    predict(longer, *words, "--output", fresh)
    assert output.read_bytes() == fresh.read_bytes()


def test_too_many_orders_are_refused_before_the_model_is_loaded(model: Path, tmp_path: Path) -> None:
    lines = [{"id": 1, "passage": "文", "question": "問", "choices": list("甲乙丙丁戊"), "answer": 1}]
    sheet = tmp_path / "five.json"
    sheet.write_text(json.dumps(lines, ensure_ascii=False), encoding="utf-8")
    code, _, err = predict(sheet, "--model", model, "--output", tmp_path / "a.csv", "--debias", "full")
    assert code == 2
    assert "120 orders" in err
    assert not (tmp_path / "a.csv.journal.jsonl").exists()
    assert predict(sheet, "--model", model, "--output", tmp_path / "a.csv", "--debias", "cyclic")[0] == 0


@pytest.mark.parametrize("debias", ["none", "cyclic"])
def test_a_row_has_the_same_bits_in_any_sheet_with_its_passage_on_any_number_of_threads(
    models: Path, tmp_path: Path, debias: str
) -> None:
    questions = tiny.questions(24, seed=2)
    parts = questions[::-1]
    sheets = {"whole": (questions, 1), "part": (parts[4:6] + parts[10:12] + parts[20:24], 2)}
    found = []
    for name, (rows, threads) in sheets.items():
        sheet, output = tiny.sheet(tmp_path / f"{name}.xlsx", rows), tmp_path / f"{name}.csv"
        words = ("--model", models / "q4_0.gguf", "--output", output, "--debias", debias, "--threads", threads)
        assert tiny.run_cli("runtime.cli", "predict", sheet, *words)[0] == 0
        found.append(records(tmp_path / f"{name}.csv.journal.jsonl"))
    whole, part = found
    assert len(part) == 8
    assert {key: whole[key] for key in part} == part


def test_a_row_whose_passage_becomes_shared_is_computed_again(models: Path, tmp_path: Path) -> None:
    """So that a grown sheet, resumed, gives the bytes of a fresh run."""
    questions, output = tiny.questions(6, seed=2), tmp_path / "a.csv"
    words = ("--model", models / "q4_0.gguf", "--columns", "full", "--overwrite")
    assert predict(tiny.sheet(tmp_path / "a.xlsx", questions[:5]), *words, "--output", output)[0] == 0
    grown = tiny.sheet(tmp_path / "b.xlsx", questions)
    code, summary, _ = predict(grown, *words, "--output", output)
    assert (code, summary["computed"], summary["from_journal"]) == (0, 2, 4)
    assert predict(grown, *words, "--output", tmp_path / "fresh.csv")[0] == 0
    assert output.read_bytes() == (tmp_path / "fresh.csv").read_bytes()
