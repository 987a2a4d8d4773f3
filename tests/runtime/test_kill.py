"""Real processes, really killed: nothing is lost and not a byte differs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import tiny

ROWS = 300

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="POSIX signals")]


@pytest.fixture(scope="module")
def long_sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions whose long passages keep the tiny model busy."""
    from dataclasses import replace

    questions = [
        replace(question, passage="".join(f"{question.passage}{number}" for number in range(20)))
        for question in tiny.questions(ROWS)
    ]
    return tiny.sheet(tmp_path_factory.mktemp("long") / "long.xlsx", questions)


def command(sheet: Path, models: Path, output: Path) -> list[str]:
    words = ["predict", sheet, "--model", models / "model.gguf", "--output", output, "--columns", "full", "--json"]
    return [sys.executable, "-P", "-m", "runtime.cli", *map(str, words), "--threads", "1"]


def wait_for_lines(journal: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while not journal.exists() or journal.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)


def test_three_kills_and_a_last_run_give_the_uninterrupted_bytes(
    long_sheet: Path, models: Path, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole.csv", tmp_path / "killed.csv"
    subprocess.run(command(long_sheet, models, whole), check=True, capture_output=True)
    journal = tmp_path / "killed.csv.journal.jsonl"
    for lines in (20, 90, 200):
        process = subprocess.Popen(command(long_sheet, models, output), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for_lines(journal, lines, process)
        process.kill()
        process.communicate()
        assert not output.exists()
    done = subprocess.run(command(long_sheet, models, output), check=True, capture_output=True)
    summary = json.loads(done.stdout)
    assert summary["from_journal"] > 150
    assert summary["computed"] + summary["from_journal"] + summary["unanswered"] == summary["rows"] == ROWS
    assert output.read_bytes() == whole.read_bytes()
    keys = [json.loads(line)["key"] for line in journal.read_text().splitlines() if '"key"' in line]
    assert len(keys) == len(set(keys))


def test_twenty_kills_at_random_moments_lose_and_double_nothing(long_sheet: Path, models: Path, tmp_path: Path) -> None:
    whole, output = tmp_path / "whole.csv", tmp_path / "killed.csv"
    subprocess.run(command(long_sheet, models, whole), check=True, capture_output=True)
    journal = tmp_path / "killed.csv.journal.jsonl"
    draw = random.Random(20)
    for kill in range(20):
        before = journal.read_bytes() if journal.exists() else b""
        process = subprocess.Popen(command(long_sheet, models, output), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if kill % 4:  # in the middle of the work, else while it starts
            wait_for_lines(journal, before.count(b"\n") + draw.randrange(1, 18), process)
            time.sleep(draw.uniform(0, 0.02))
        else:
            time.sleep(draw.uniform(0, 1))
        process.kill()
        process.communicate()
        after = journal.read_bytes() if journal.exists() else b""
        assert after[: before.rfind(b"\n") + 1] == before[: before.rfind(b"\n") + 1]  # what was written stays
        assert not output.exists()
    done = subprocess.run(command(long_sheet, models, output), check=True, capture_output=True)
    assert json.loads(done.stdout)["unanswered"] == 0
    assert output.read_bytes() == whole.read_bytes()
    keys = [json.loads(line)["key"] for line in journal.read_bytes().splitlines() if b'"scores"' in line]
    whole_keys = [
        json.loads(line)["key"]
        for line in Path(f"{whole}.journal.jsonl").read_bytes().splitlines()
        if b'"scores"' in line
    ]
    # A row that a run found in the journal it did not compute again: none is there twice, and none is missing.
    assert keys == whole_keys
    assert len(keys) == len(set(keys)) == ROWS


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_at_once_and_keeps_the_journal(
    long_sheet: Path, models: Path, tmp_path: Path, signal_number: int, code: int
) -> None:
    output = tmp_path / "a.csv"
    process = subprocess.Popen(command(long_sheet, models, output), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_lines(tmp_path / "a.csv.journal.jsonl", 20, process)
    process.send_signal(signal_number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert b"Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv.journal.jsonl"]
    done = subprocess.run(command(long_sheet, models, output), check=True, capture_output=True)
    assert json.loads(done.stdout)["from_journal"] >= 18


def test_a_second_run_of_the_same_output_is_refused(long_sheet: Path, models: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    process = subprocess.Popen(command(long_sheet, models, output), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_lines(tmp_path / "a.csv.journal.jsonl", 5, process)
    second = subprocess.run(command(long_sheet, models, output), check=False, capture_output=True)
    process.kill()
    process.communicate()
    assert second.returncode == 1
    assert b"another run is writing" in second.stderr
