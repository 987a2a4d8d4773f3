"""The journal survives torn lines, refuses strangers and holds its lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import ConfigError, ToolError
from runtime.journal import Journal, Result, journal_path

IDENTITY = {"scoring": "s", "model": "m"}
RESULT = Result(((-0.1, -2.5), (-0.2, -2.0)), 84)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path / "answers.csv")


def written(path: Path, count: int = 3) -> bytes:
    with Journal(path, IDENTITY) as journal:
        for number in range(count):
            journal.add(f"key{number}", RESULT)
    return path.read_bytes()


def test_its_name_is_the_outputs(path: Path) -> None:
    assert path.name == "answers.csv.journal.jsonl"


def test_results_come_back_exactly(path: Path) -> None:
    written(path)
    with Journal(path, IDENTITY) as journal:
        assert journal.results == {f"key{number}": RESULT for number in range(3)}


def test_a_line_torn_anywhere_loses_that_line_alone(path: Path) -> None:
    data = written(path)
    start = data.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(start, len(data)):
        path.write_bytes(data[:end])
        with Journal(path, IDENTITY) as journal:
            assert set(journal.results) == {"key0", "key1"}
            journal.add("key2", RESULT)
        assert path.read_bytes() == data


def test_a_torn_first_line_begins_the_journal_anew(path: Path) -> None:
    data = written(path, 0)
    path.write_bytes(data[:20])
    with Journal(path, IDENTITY) as journal:
        assert journal.results == {}
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x00\x00",
        b"not json",
        b"[1]",
        b'{"key": "x"}',
        b'{"key": "x", "scores": [[NaN, -1.0]], "tokens": 3}',
        b'{"key": "x", "scores": [["a"]], "tokens": 3}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_line_is_computed_again(path: Path, line: bytes) -> None:
    path.write_bytes(written(path) + line + b"\n")
    with Journal(path, IDENTITY) as journal:
        assert set(journal.results) == {"key0", "key1", "key2"}


def test_another_models_journal_is_refused_with_the_remedy(path: Path) -> None:
    data = written(path)
    with pytest.raises(ConfigError, match=r"another model.*--restart"):
        Journal(path, {**IDENTITY, "model": "other"})
    assert path.read_bytes() == data
    with Journal(path, {**IDENTITY, "model": "other"}, restart=True) as journal:
        assert journal.results == {}


def test_a_strangers_file_is_refused(path: Path) -> None:
    path.write_text(json.dumps({"some": "thing"}) + "\n")
    with pytest.raises(ConfigError, match="not a journal"):
        Journal(path, IDENTITY)


def test_a_second_run_is_refused_while_the_first_lives(path: Path) -> None:
    with Journal(path, IDENTITY), pytest.raises(ToolError, match="another run is writing"):
        Journal(path, IDENTITY, restart=True)
    with Journal(path, IDENTITY):
        pass


def test_the_lock_vanishes_with_a_killed_process(path: Path) -> None:
    script = (
        "import sys, os, signal; from pathlib import Path; from runtime.journal import Journal\n"
        f"Journal(Path(sys.argv[1]), {IDENTITY!r}); print('held', flush=True); signal.pause()"
    )
    child = subprocess.Popen([sys.executable, "-P", "-c", script, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(ToolError, match="another run"):
        Journal(path, IDENTITY)
    child.kill()
    child.wait()
    with Journal(path, IDENTITY):
        pass


def test_runs_and_outputs_are_remembered(path: Path) -> None:
    with Journal(path, IDENTITY) as journal:
        journal.begin_run("inputs", "replaced")
    with Journal(path, IDENTITY) as journal:
        assert journal.last_run == {"inputs": "inputs", "replaces": "replaced"}
        journal.end_run({"inputs": "inputs", "sha256": "csv"})
    with Journal(path, IDENTITY) as journal:
        assert journal.last_run == {}
        assert journal.last_output == {"inputs": "inputs", "sha256": "csv"}
