"""C-Eval and CMMLU: folders of the true layout, with every subject, become a sheet and then the usual files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.sheets import read_questions
from runtime.benchmarks.run import BenchmarkSettings, write_results, write_sheet
from runtime.benchmarks.subjects import NAMES, Name, benchmark
from tests import tiny


def folder(path: Path, name: Name, *, rows: int = 2, subjects: int | None = None) -> Path:
    """A benchmark's folder; the right option of row n is option n modulo 4."""
    made = benchmark(name)
    for split in ("dev", *made.splits):
        (path / split).mkdir(parents=True)
        for subject in made.subjects[:subjects]:
            labelled = name == "cmmlu" or split != "test"
            head = {"ceval": "id,question,A,B,C,D", "cmmlu": ",Question,A,B,C,D"}[name]
            head += (",answer" if name == "ceval" else ",Answer") if labelled else ""
            head += ",explanation" if (name, split) == ("ceval", "dev") else ""
            lines = [head]
            for number in range(5 if split == "dev" else rows):
                cells = [str(number), f"“{subject.title}”的{split}題{number}？", "甲", "NA", "丙", "15%"]
                cells += ["ABCD"[number % 4]] if labelled else []
                lines.append(",".join([*cells, *(["因為"] if head.endswith("explanation") else [])]))
            made.file(path, split, subject.key).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "count"), [("ceval", 52), ("cmmlu", 67)])
def test_every_subject_becomes_rows_of_one_sheet(name: Name, count: int, tmp_path: Path) -> None:
    settings = BenchmarkSettings(name, folder(tmp_path / "in", name), tmp_path / "out", shots=2)
    path, notes = write_sheet(settings)
    sheet = read_questions(path, need_answers=True)
    assert (len(sheet.rows), notes) == (2 * count, [])
    assert not any(row.error for row in sheet.rows)
    assert len({row.question.passage for row in sheet.rows if row.question}) == count
    first = sheet.rows[1].question
    assert first is not None
    assert (first.choices, first.answer) == (("甲", "NA", "丙", "15%"), 2)
    titles = [subject.title for subject in benchmark(name).subjects]
    assert len(set(titles)) == count
    assert first.passage.startswith(
        f"以下是中国关于{titles[0]}考试的单项选择题，请选出其中的正确答案。\n\n“{titles[0]}”的dev題0？\nA. 甲"
    )
    assert first.passage.endswith("D. 15%\n答案：B")


def test_the_prompt_is_the_older_scripts(tmp_path: Path) -> None:
    settings = BenchmarkSettings("ceval", folder(tmp_path / "in", "ceval", subjects=1), tmp_path / "out", shots=1)
    question = read_questions(write_sheet(settings)[0], need_answers=True).rows[0].question
    assert question is not None
    title = benchmark("ceval").subjects[0].title
    assert QuestionFormat.load("ceval").text(question) == (
        f"以下是中国关于{title}考试的单项选择题，请选出其中的正确答案。\n\n"
        f"“{title}”的dev題0？\nA. 甲\nB. NA\nC. 丙\nD. 15%\n答案：A\n\n"
        f"“{title}”的val題0？\nA. 甲\nB. NA\nC. 丙\nD. 15%\n答案："
    )


def answered(settings: BenchmarkSettings, letters: str) -> None:
    """An answers CSV that repeats these letters."""
    rows = read_questions(settings.output / "questions.jsonl", need_answers=False).rows
    lines = [f"{row.id},{letters[number % len(letters)]}" for number, row in enumerate(rows)]
    (settings.output / "answers.csv").write_text("ID,Answer\n" + "\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_submission_and_summary_are_the_older_scripts(name: Name, tmp_path: Path) -> None:
    settings = BenchmarkSettings(name, folder(tmp_path / "in", name), tmp_path / "out", shots=0)
    write_sheet(settings)
    answered(settings, "AA")  # of each subject the first row right, the second wrong
    table = write_results(settings)
    made = benchmark(name)
    assert table is not None
    assert table == json.loads((tmp_path / "out" / "summary.json").read_text())
    for subject in made.subjects:
        assert table[subject.key] == {"score": 50.0, "num": 2, "correct": 1}
    assert sum(group["num"] for group in table["grouped"].values()) == table["All"]["num"] == 2 * len(made.subjects)
    assert table["All"]["score"] == 0.5
    assert table["grouped"]["STEM"]["score"] == 0.5
    assert set(table["grouped"]) == set(made.groups)
    written = json.loads((tmp_path / "out" / "submission.json").read_text())
    assert written == {subject.key: {"0": "A", "1": "A"} for subject in made.subjects}


def test_a_split_without_labels_has_no_summary(tmp_path: Path) -> None:
    settings = BenchmarkSettings("ceval", folder(tmp_path / "in", "ceval"), tmp_path / "out", split="test")
    write_sheet(settings)
    answered(settings, "CD")
    assert write_results(settings) is None
    assert not (tmp_path / "out" / "summary.json").exists()
    assert json.loads((tmp_path / "out" / "submission.json").read_text())["logic"] == {"0": "C", "1": "D"}


def test_missing_subjects_are_named_and_strange_files_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "cmmlu", subjects=65)
    _, (note,) = write_sheet(BenchmarkSettings("cmmlu", source, tmp_path / "out"))
    assert note.startswith("2 of 67 subjects of cmmlu are not in")
    (source / "test" / "astrology.csv").write_text("x")
    with pytest.raises(ConfigError, match=r"astrology\.csv is no subject of cmmlu"):
        write_sheet(BenchmarkSettings("cmmlu", source, tmp_path / "out"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shots": 6}, "has 5 examples"),
        ({"split": "dev"}, "no split dev to answer"),
        ({"name": "cmmlu"}, "is no subject of cmmlu"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], sentence: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "ceval", subjects=1)
    with pytest.raises(ConfigError, match=sentence):
        write_sheet(BenchmarkSettings(**{"name": "ceval", "folder": source, "output": tmp_path / "out", **settings}))


def test_another_runs_sheet_and_strangers_results_are_kept(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "ceval", subjects=1)
    settings = BenchmarkSettings("ceval", source, tmp_path / "out", shots=0)
    write_sheet(settings)
    write_sheet(settings)
    for other in (BenchmarkSettings("ceval", source, tmp_path / "out", shots=1),):
        with pytest.raises(ConfigError, match="--overwrite"):
            write_sheet(other)
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "summary.json").write_text("{}")
    with pytest.raises(ConfigError, match="--overwrite"):
        write_sheet(BenchmarkSettings("ceval", source, tmp_path / "strange"))


@pytest.mark.parametrize("damage", ["question,A,B\n1,2,3\n", '"', ""])
def test_a_damaged_file_ends_in_a_sentence(damage: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "ceval", subjects=1)
    benchmark("ceval").file(source, "val", "computer_network").write_text(damage)
    with pytest.raises(ConfigError, match="computer_network_val"):
        write_sheet(BenchmarkSettings("ceval", source, tmp_path / "out"))


def test_the_whole_road(models: Path, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "ceval", subjects=3)
    words = ("predict", source, "--benchmark", "ceval", "--shots", 2, "--model", models / "model.gguf", "--threads", 1)
    code, out, err = tiny.run_cli("runtime.cli", *words, "--output", tmp_path / "out", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["rows"], result["computed"]) == (6, 6)
    assert "49 of 52 subjects" in err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["All"]["score"] == result["accuracy"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "questions.jsonl", "answers.csv", "answers.csv.journal.jsonl", "submission.json", "summary.json",
    }  # fmt: skip
    before = (tmp_path / "out" / "submission.json").read_bytes()
    code, out, err = tiny.run_cli("runtime.cli", *words, "--output", tmp_path / "out", "--json")
    assert (code, json.loads(out)["from_journal"]) == (0, 6)
    assert (tmp_path / "out" / "submission.json").read_bytes() == before
    _, graded, _ = tiny.run_cli(
        "runtime.cli",
        "evaluate",
        tmp_path / "out" / "answers.csv",
        "--sheet",
        tmp_path / "out" / "questions.jsonl",
        "--json",
    )
    assert json.loads(graded)["groups"].keys() == {"computer_network", "operating_system", "computer_architecture"}


def test_words_that_do_not_belong_together(models: Path, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "ceval", subjects=1)
    words = ("--model", models / "model.gguf", "--output", tmp_path / "out")
    for strange, sentence in (
        ((source,), "--benchmark"),
        ((source, "--shots", 2), "--benchmark"),
        ((source, "--benchmark", "ceval", "--columns", "kaggle"), "--columns"),
        ((source, "--benchmark", "ceval", "--sheet-columns", "id=x"), "--sheet-columns"),
    ):
        code, _, err = tiny.run_cli("runtime.cli", "predict", *strange, *words)
        assert code == 2
        assert sentence in err
