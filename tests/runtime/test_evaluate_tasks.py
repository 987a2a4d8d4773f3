"""`runtime evaluate` beyond the accuracy: sources, probabilities, two runs, plots, the page, entities and free text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import tiny

HEADER = "ID,文章,問題,選項1,選項2,選項3,正確答案,出處\n"
FULL = "ID,Answer,P(1),P(2),P(3),LabelMass,FlipRate\r\n"


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    path = tmp_path / "gold.csv"
    rows = [(1, "甲報"), (2, "甲報"), (3, "乙報"), (1, "")]
    lines = [f"q{number},文{number},問,甲,乙,丙,{label},{source}\n" for number, (label, source) in enumerate(rows)]
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    rows = ["q0,1,0.8,0.1,0.1,0.9,0", "q1,2,0.3,0.6,0.1,0.8,0.5", "q2,1,0.5,0.3,0.2,0.7,0.25", "q3,,,,,,"]
    path.write_text(FULL + "".join(f"{row}\r\n" for row in rows), encoding="utf-8-sig")
    return path


def evaluate(*words: object, code: int = 0) -> dict[str, Any]:
    found, out, err = tiny.run_cli("runtime.cli", "evaluate", *words, "--json")
    assert found == code, err
    return json.loads(out)


def refused(*words: object) -> str:
    code, out, err = tiny.run_cli("runtime.cli", "evaluate", *words)
    assert (code, out) == (2, "")
    return err


def test_groups_by_a_column_of_the_users(gold: Path, answers: Path) -> None:
    result = evaluate(answers, "--sheet", gold, "--by", "出處")
    assert {name: (one["correct"], one["labelled"]) for name, one in result["groups"].items()} == {
        "甲報": (2, 2), "乙報": (0, 1), "": (0, 1),
    }  # fmt: skip
    assert "no column '出版'" in refused(answers, "--sheet", gold, "--by", "出版")


def test_the_column_of_sources_is_found(tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(4))
    (tmp_path / "a.csv").write_text("ID,Answer\n1,1\n", encoding="utf-8")
    result = evaluate(tmp_path / "a.csv", "--sheet", sheet)
    assert result["group_column"] == "資料來源"
    assert result["groups"]["自編"]["labelled"] == 4


def test_probabilities_are_measured(gold: Path, answers: Path) -> None:
    result = evaluate(answers, "--sheet", gold, "--by", "出處")
    measured = result["calibration"]
    assert measured["rows"] == 3
    assert measured["ece"] == pytest.approx((0.2 + 0.4 + 0.5) / 3)
    assert measured["brier"] == pytest.approx((0.06 + 0.26 + 0.25 + 0.09 + 0.64) / 3)
    assert measured["temperature"] is None
    assert measured["median_label_mass"] == 0.8
    assert result["flips"]["rate"] == pytest.approx(0.25)
    assert (result["flips"]["steady"]["labelled"], result["flips"]["flipping"]["correct"]) == (1, 1)
    assert result["recall"] == {"1": 0.5, "2": 1.0, "3": 0.0}
    assert result["recall_deviation"] == pytest.approx((1 / 6) ** 0.5)


def test_a_kaggle_csv_has_no_calibration(gold: Path, tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("ID,Answer\nq0,1\n")
    result = evaluate(tmp_path / "k.csv", "--sheet", gold, "--by", "出處")
    assert (result["calibration"], result["flips"]) == (None, None)


@pytest.mark.parametrize("share", ["x", "1.5", "-0.1", "nan"])
def test_a_probability_that_is_none_is_refused(gold: Path, answers: Path, share: str) -> None:
    answers.write_text(answers.read_text(encoding="utf-8-sig").replace("0.8,0.1,0.1", f"{share},0.1,0.1"))
    assert "row 1" in refused(answers, "--sheet", gold, "--by", "出處")


def test_probabilities_of_another_sheet_are_refused(gold: Path, answers: Path) -> None:
    answers.write_text(answers.read_text(encoding="utf-8-sig").replace("0.8,0.1,0.1", "0.8,0.1,"))
    assert "not those of its 3 options" in refused(answers, "--sheet", gold, "--by", "出處")


def test_two_runs_are_compared(gold: Path, answers: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.csv"
    other.write_text("ID,Answer\nq0,1\nq1,1\nq2,3\nq3,1\n")
    result = evaluate(answers, "--sheet", gold, "--by", "出處", "--against", other)["against"]
    assert [result[name] for name in ("both_right", "only_first", "only_second", "both_wrong")] == [1, 1, 2, 0]
    assert result["disagreements"][2] == {"id": "q3", "gold": 1, "first": None, "second": 1}
    assert result["p_exact"] == 1.0
    _, out, _ = tiny.run_cli("runtime.cli", "evaluate", answers, "--sheet", gold, "--by", "出處", "--against", other)
    assert "3 rows are answered differently" in out
    assert "McNemar: p = 1 exact" in out
    other.write_text("ID,Answer\nq0,甲\nq1,1\nq2,3\nq3,1\n", encoding="utf-8")
    evaluate(answers, "--sheet", gold, "--by", "出處", "--against", other, code=1)


def test_plots_and_page_stand_alone_and_are_kept(gold: Path, answers: Path, tmp_path: Path) -> None:
    gold.write_text(gold.read_text(encoding="utf-8").replace("乙報", "<script>alert(1)</script>"), encoding="utf-8")
    words = (answers, "--sheet", gold, "--by", "出處", "--plots", tmp_path / "p", "--report", tmp_path / "r.html")
    evaluate(*words)
    names = sorted(path.name for path in (tmp_path / "p").iterdir())
    assert names == ["confusion.png", "reliability.png"]
    assert all((tmp_path / "p" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 2
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    assert "&lt;script&gt;alert(1)" in page
    before = (tmp_path / "r.html").stat().st_mtime_ns
    _, _, err = tiny.run_cli("runtime.cli", "evaluate", *words)
    assert "r.html was already made from the same answers" in err
    assert (tmp_path / "r.html").stat().st_mtime_ns == before
    answers.write_text("ID,Answer\nq0,1\n")
    assert "--overwrite" in refused(*words)
    evaluate(*words, "--overwrite")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") != page


@pytest.mark.filterwarnings("error")
def test_chinese_labels_draw_without_a_missing_glyph(gold: Path, tmp_path: Path) -> None:
    (tmp_path / "甲.csv").write_text("ID,Answer,P(甲),P(乙),P(丙)\nq0,甲,1,0,0\nq1,丙,0,0,1\n", encoding="utf-8")
    result = evaluate(tmp_path / "甲.csv", "--sheet", gold, "--by", "出處", "--plots", tmp_path / "p")
    assert result["correct"] == 1
    assert (tmp_path / "p" / "reliability.png").exists()


ENTITIES = [
    {"instruct": "找", "query": "文本：在北京的郑振铎", "answer": "北京_地名\n郑振铎_人名"},
    {"instruct": "找", "query": "文本：下雨", "answer": "没有"},
]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_entities_are_told_by_the_files(tmp_path: Path) -> None:
    gold = jsonl(tmp_path / "gold.txt", ENTITIES)
    replies = jsonl(
        tmp_path / "out.jsonl", [{"id": "1", "output": "北京_地名\n上海_地名"}, {"id": "2", "output": "没有"}]
    )
    result = evaluate(replies, "--sheet", gold)
    assert (result["task"], result["precision"], result["recall"]) == ("entities", 0.5, 0.5)
    assert result["types"]["PER"]["missed"] == 1
    assert (result["exact"], result["not_in_text"]) == (1, 1)
    assert evaluate(replies, "--sheet", gold, "--task", "text")["exact_match"] == 0.5
    listed = [
        {"text": "在北京", "entity_list": [{"entity": "北京", "entity_type": "LOC"}]},
        {"text": "雨", "entity_list": []},
    ]
    result = evaluate(replies, "--sheet", jsonl(tmp_path / "listed.txt", listed))
    assert (result["task"], result["recall"], result["precision"]) == ("entities", 1.0, 0.5)


def test_free_text_and_rows_without_a_partner(tmp_path: Path) -> None:
    gold = jsonl(tmp_path / "gold.jsonl", [{"id": name, "input": "首都？", "output": "台北市"} for name in "abc"])
    replies = jsonl(
        tmp_path / "out.jsonl",
        [{"id": "a", "output": "台北市。"}, {"id": "b", "output": "台北"}, {"id": "z", "output": "?"}],
    )
    result = evaluate(replies, "--sheet", gold)
    assert (result["task"], result["exact_match"]) == ("text", pytest.approx(1 / 3))
    assert result["character_f1"] == pytest.approx((1 + 0.8 + 0) / 3)
    assert (result["missing"], result["extra"]) == (["c"], ["z"])
    _, out, _ = tiny.run_cli("runtime.cli", "evaluate", replies, "--sheet", gold)
    assert "1 records have no reply, which counts as wrong: c" in out


def test_a_failed_record_keeps_its_place_among_equal_ids(tmp_path: Path) -> None:
    gold = jsonl(tmp_path / "gold.jsonl", [{"id": "7", "input": "一？", "output": text} for text in ("甲", "乙")])
    replies = jsonl(tmp_path / "out.jsonl", [{"id": "7", "output": None}, {"id": "7", "output": "乙"}])
    result = evaluate(replies, "--sheet", gold)
    assert (result["exact_match"], result["missing"], result["extra"]) == (0.5, ["7"], [])


def test_the_predecessors_prediction_files_are_read(tmp_path: Path) -> None:
    gold = jsonl(tmp_path / "gold.jsonl", [{"input": "首都？", "output": "台北"}])
    (tmp_path / "predictions.json").write_text('[{"Input": "首都？", "Output": "台北"}]', encoding="utf-8")
    assert evaluate(tmp_path / "predictions.json", "--sheet", gold)["exact_match"] == 1.0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--by", "x"], "belong to exams"),
        (["--against", "b.csv"], "belong to exams"),
        (["--plots", "p"], "has no plots"),
        (["--task", "entities"], "does not list entities"),
        (["--task", "exam"], "needs ID and Answer"),
    ],
)
def test_what_does_not_belong_to_the_task_is_refused(words: list[str], sentence: str, tmp_path: Path) -> None:
    gold = jsonl(tmp_path / "gold.jsonl", [{"input": "首都？", "output": "台北"}])
    replies = jsonl(tmp_path / "out.jsonl", [{"id": "1", "output": "台北"}])
    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(2)) if "exam" in words else gold
    assert sentence in refused(replies, "--sheet", sheet, *words)


def test_a_sheet_in_big5_says_so(gold: Path, answers: Path) -> None:
    text = gold.read_text(encoding="utf-8")
    gold.write_bytes(text.encode("big5"))
    _, out, err = tiny.run_cli(
        "runtime.cli", "evaluate", answers, "--sheet", gold, "--by", "出處", "--encoding", "big5"
    )
    assert "accuracy 50.0%" in out
    _, _, err = tiny.run_cli("runtime.cli", "evaluate", answers, "--sheet", gold, "--by", "出處")
    assert "read as cp950" in err


def test_tables_line_up_whatever_the_script() -> None:
    from runtime.evaluation.sections import Section, as_lines

    rows = (
        ("駱駝祥子\n老舍", "1"),
        ("a\x1b[31mb", "22"),
        ("長" * 100, "3"),
        *((str(number), "4") for number in range(30)),
    )
    lines = as_lines([Section("by source", ("a note",), ("", "rows"), rows)], most_rows=5)
    assert lines[:2] == ["by source", "a note"]
    assert "\x1b" not in "".join(lines)
    assert lines[-1] == "… and 28 more (--json or --report has them)"
    cells = [sum(2 if ord(character) > 0x2E80 else 1 for character in line) for line in lines[2:-1]]
    assert len(set(cells)) == 1
    assert "駱駝祥子 老舍" in lines[3]
    assert lines[5].endswith("…     3")


@pytest.mark.parametrize(
    ("told", "wrong_one_in", "sentence"),
    [
        (0.97, 2, "the probabilities are too sure"),
        (0.5, 2, "no temperature makes"),
        (0.999, 10_000, "as honest as a temperature could make them"),
    ],
)
def test_a_temperature_is_named_only_where_it_helps(
    told: float, wrong_one_in: int, sentence: str, tmp_path: Path
) -> None:
    """So many of the answers are wrong, whatever is told of them."""
    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(400))
    lines = ["ID,Answer,P(1),P(2),P(3),P(4)"]
    for number, question in enumerate(tiny.questions(400), 1):
        place = (question.answer or 0) % 4 + 1 if number % wrong_one_in == wrong_one_in - 1 else question.answer
        shares = [told if at == place else (1 - told) / 3 for at in range(1, 5)]
        lines.append(",".join([str(number), str(place), *(f"{share:.6f}" for share in shares)]))
    (tmp_path / "a.csv").write_text("\n".join(lines))
    _, out, _ = tiny.run_cli("runtime.cli", "evaluate", tmp_path / "a.csv", "--sheet", sheet)
    assert sentence in out
