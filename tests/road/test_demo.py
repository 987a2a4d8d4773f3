"""The demo as a newcomer runs it: training matters, the passage decides, the place of the right option does not."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest

from configs.sheets import read_questions
from tests.road.commands import ENVIRONMENT, command, done, predict

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo" / "run.py"
CHANCE = 0.40
LEARNT = 0.80

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("demo")]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    ran = subprocess.run([sys.executable, DEMO, out], env=ENVIRONMENT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return out


@pytest.fixture(scope="module")
def table(demo: Path) -> dict[str, dict[str, float]]:
    return {row["model"]: row for row in json.loads((demo / "summary.json").read_text())["rows"]}


def rewritten(source: Path, target: Path, change) -> Path:
    """A copy of a sheet with every row changed."""
    page = openpyxl.load_workbook(source).worksheets[0]
    lines = list(page.iter_rows(values_only=True))
    book = openpyxl.Workbook()
    for line in [lines[0], *change([list(line) for line in lines[1:]])]:
        book.active.append(line)
    book.save(target)
    return target


def test_training_matters_and_quantization_keeps_it(table):
    assert list(table) == ["base", "adapter", "f16", "q4_0"]
    assert table["base"]["accuracy"] <= CHANCE
    assert min(table[model]["accuracy"] for model in ("adapter", "f16", "q4_0")) >= LEARNT
    assert table["q4_0"]["size_bytes"] < table["f16"]["size_bytes"] / 2
    assert all(row["questions_per_s"] > 0 for row in table.values())


def test_held_out_sheet_is_what_it_claims(demo):
    held = read_questions(demo / "held-out.xlsx", need_answers=True)
    training = read_questions(demo / "training.xlsx", need_answers=True)
    questions = [row.question for row in held.rows]
    assert len(questions) >= 400
    assert [sum(q.answer == place for q in questions) for place in (1, 2, 3, 4)] == [len(questions) // 4] * 4
    assert not {q.passage for q in questions} & {row.question.passage for row in training.rows}
    header = next(openpyxl.load_workbook(demo / "held-out.xlsx").worksheets[0].iter_rows(values_only=True))
    assert header == ("ID", "文章", "問題", "選項1", "選項2", "選項3", "選項4", "正確答案", "資料來源")


def test_running_by_hand_gives_the_same_accuracies(demo, table, tmp_path):
    sheet = demo / "held-out.xlsx"
    assert predict(sheet, demo / "model-base.gguf", tmp_path / "1.csv")["accuracy"] == table["base"]["accuracy"]
    assert predict(sheet, demo / "model-f16.gguf", tmp_path / "2.csv")["accuracy"] == table["f16"]["accuracy"]
    assert predict(sheet, demo / "model-q4_0.gguf", tmp_path / "3.csv")["accuracy"] == table["q4_0"]["accuracy"]
    plugged = predict(sheet, demo / "model-base.gguf", tmp_path / "4.csv", "--adapter", demo / "adapter.gguf")
    assert plugged["accuracy"] == table["adapter"]["accuracy"]
    assert (tmp_path / "3.csv").read_bytes() == (demo / "answers.csv").read_bytes()


def test_passage_decides(demo, tmp_path):
    def swap(lines):
        others = [line[1] for line in lines]
        random.Random(1).shuffle(others)
        return [[line[0], other, *line[2:]] for line, other in zip(lines, others, strict=True)]

    sheet = rewritten(demo / "held-out.xlsx", tmp_path / "swapped.xlsx", swap)
    assert predict(sheet, demo / "model-q4_0.gguf", tmp_path / "a.csv")["accuracy"] <= CHANCE


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_place_of_the_right_option_does_not(demo, table, tmp_path, turn):
    def rotate(lines):
        return [
            [*line[:3], *line[3 + turn : 7], *line[3 : 3 + turn], (line[7] - 1 - turn) % 4 + 1, line[8]]
            for line in lines
        ]

    sheet = rewritten(demo / "held-out.xlsx", tmp_path / "rotated.xlsx", rotate)
    accuracy = predict(sheet, demo / "model-q4_0.gguf", tmp_path / "a.csv")["accuracy"]
    assert abs(accuracy - table["q4_0"]["accuracy"]) <= 0.04


def test_second_run_trains_nothing_again(demo):
    before = {path: path.stat().st_mtime_ns for name in ("base", "adapter") for path in (demo / name).rglob("*")}
    ran = subprocess.run([sys.executable, DEMO, demo], env=ENVIRONMENT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert before == {
        path: path.stat().st_mtime_ns for name in ("base", "adapter") for path in (demo / name).rglob("*")
    }


def test_chat_answers_from_a_pipe(demo):
    import subprocess

    question = "欣怡在秋天出生,養了小貓。欣怡住在台北,每天喝咖啡。\n\n欣怡養了什麼動物?"
    argv = [Path(sys.executable).parent / "runtime", "chat", "--model", demo / "model-base.gguf", "--temperature", "0"]
    ran = subprocess.run(argv, input=question, capture_output=True, text=True, env=ENVIRONMENT)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "小貓"


@pytest.mark.shared
def test_demo_models_take_the_real_exam(demo, shared_data, tmp_path):
    found = predict(shared_data / "formosa" / "AI1000.xlsx", demo / "model-q4_0.gguf", tmp_path / "a.csv")
    assert (found["rows"], found["unanswered"], found["accuracy"]) == (1000, 0, None)
    assert (tmp_path / "a.csv").read_bytes().count(b"\r\n") == 1001


def test_gguf_from_elsewhere_needs_a_format(demo, tmp_path):
    """A base folder without prompt_format.toml makes a GGUF that knows no format, like any other program's."""
    import shutil

    shutil.copytree(demo / "base", tmp_path / "base")
    (tmp_path / "base" / "prompt_format.toml").unlink()
    foreign = tmp_path / "foreign.gguf"
    done("exporter", "merge", "--base", tmp_path / "base", "--format", "gguf", "--type", "f16", "--output", foreign)
    refused = command("runtime", "predict", demo / "held-out.xlsx", "--model", foreign, "--output", tmp_path / "a.csv")
    assert refused.returncode == 2
    assert "alpaca2" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert predict(demo / "held-out.xlsx", foreign, tmp_path / "a.csv", "--prompt-format", "alpaca2")["unanswered"] == 0
