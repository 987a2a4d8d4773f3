"""The journal survives torn lines, refuses strangers and holds its lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import ConfigError, ToolError
from runtime import file_lock
from runtime import journal as journal_module
from runtime.journal import Journal, journal_path, read_journal
from runtime.results import SCORES, Result

IDENTITY = {"scoring": "s", "model": "m"}
RESULT = Result(((-0.1, -2.5), (-0.2, -2.0)), 84)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path / "answers.csv")


def written(path: Path, count: int = 3) -> bytes:
    with Journal(path, IDENTITY, SCORES) as journal:
        for number in range(count):
            journal.add(f"key{number}", RESULT)
    return path.read_bytes()


def test_its_name_is_the_outputs(path: Path) -> None:
    assert path.name == "answers.csv.journal.jsonl"


def test_results_come_back_exactly(path: Path) -> None:
    written(path)
    with Journal(path, IDENTITY, SCORES) as journal:
        assert journal.results == {f"key{number}": RESULT for number in range(3)}


def test_a_line_torn_anywhere_loses_that_line_alone(path: Path) -> None:
    data = written(path)
    start = data.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(start, len(data)):
        path.write_bytes(data[:end])
        with Journal(path, IDENTITY, SCORES) as journal:
            assert set(journal.results) == {"key0", "key1"}
            assert path.read_bytes() == data[:start]
            journal.add("key2", RESULT)
        assert path.read_bytes() == data


def test_a_torn_first_line_begins_the_journal_anew(path: Path) -> None:
    data = written(path, 1)
    path.write_bytes(data[:20])
    with Journal(path, IDENTITY, SCORES) as journal:
        assert journal.results == {}
        journal.add("key0", RESULT)
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
    with Journal(path, IDENTITY, SCORES) as journal:
        assert set(journal.results) == {"key0", "key1", "key2"}


def test_another_models_journal_is_refused_with_the_remedy(path: Path) -> None:
    data = written(path)
    with pytest.raises(ConfigError, match=r"a run with other model.*--restart"):
        Journal(path, {**IDENTITY, "model": "other"}, SCORES)
    assert path.read_bytes() == data
    with Journal(path, {**IDENTITY, "model": "other"}, SCORES, restart=True) as journal:
        assert journal.results == {}
        journal.add("new", RESULT)
    assert set(read_journal(path, SCORES).results) == {"new"}


def test_a_restart_without_a_result_forgets_nothing(path: Path) -> None:
    data = written(path)
    with Journal(path, {"model": "other"}, SCORES, restart=True) as journal:
        journal.begin_run("inputs", "")
    assert path.read_bytes() == data


def test_a_run_without_a_result_leaves_nothing(path: Path) -> None:
    with Journal(path, IDENTITY, SCORES) as journal:
        journal.begin_run("inputs", "")
    assert not path.exists()


def test_reasons_are_written_once_and_end_with_a_result(path: Path) -> None:
    with Journal(path, IDENTITY, SCORES) as journal:
        journal.refuse("key", "too long")
    data = path.read_bytes()
    with Journal(path, IDENTITY, SCORES) as journal:
        assert journal.errors == {"key": "too long"}
        journal.refuse("key", "too long")
        assert path.read_bytes() == data
        journal.add("key", RESULT)
    held = read_journal(path, SCORES)
    assert (held.errors, held.results) == ({}, {"key": RESULT})


def test_every_record_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    real = os.write
    monkeypatch.setattr(file_lock.os, "write", lambda fd, data: writes.append(data) or real(fd, data))
    written(path)
    assert [data.count(b"\n") for data in writes] == [2, 1, 1]  # the first line goes with the first result
    assert b"".join(writes) == path.read_bytes()


def test_the_disk_has_what_was_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(file_lock.os, "fsync", lambda fd: synced.append(path.read_bytes().count(b'"key"')))
    monkeypatch.setattr(journal_module, "time", Clock())
    with Journal(path, IDENTITY, SCORES) as journal:
        for number in range(100):
            journal.add(f"key{number}", RESULT)
        assert synced == [64, 64]  # the file, and the first time its folder
        journal_module.time.now += 2
        journal.add("late", RESULT)
        assert synced == [64, 64, 101]
        journal.end_run({"sha256": "csv"})
        assert synced == [64, 64, 101, 101]


class Clock:
    """A clock that stands until told."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_strangers_file_is_refused(path: Path) -> None:
    path.write_text(json.dumps({"some": "thing"}) + "\n")
    with pytest.raises(ConfigError, match="not a journal"):
        Journal(path, IDENTITY, SCORES)


def test_a_second_run_is_refused_while_the_first_lives(path: Path) -> None:
    with Journal(path, IDENTITY, SCORES), pytest.raises(ToolError, match="another run is writing"):
        Journal(path, IDENTITY, SCORES, restart=True)
    with Journal(path, IDENTITY, SCORES):
        pass


def test_the_lock_vanishes_with_a_killed_process(path: Path) -> None:
    script = (
        "import sys, os, signal; from pathlib import Path; from runtime.journal import Journal; from runtime.results import SCORES\n"
        f"journal = Journal(Path(sys.argv[1]), {IDENTITY!r}, SCORES); print('held', flush=True); signal.pause()"
    )
    child = subprocess.Popen([sys.executable, "-P", "-c", script, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(ToolError, match="another run"):
        Journal(path, IDENTITY, SCORES)
    child.kill()
    child.wait()
    with Journal(path, IDENTITY, SCORES):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("way", ["fork", "exec"])
def test_a_child_does_not_hold_the_lock_on(path: Path, way: str) -> None:
    begin = {
        "fork": "if os.fork() == 0:\n    print(os.getpid(), flush=True)",
        "exec": "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], close_fds=False)\nprint(child.pid, flush=True)",
    }[way]
    script = (
        "import os, signal, subprocess, sys; from pathlib import Path\n"
        "from runtime.journal import Journal; from runtime.results import SCORES\n"
        f"journal = Journal(Path(sys.argv[1]), {IDENTITY!r}, SCORES)\n{begin}\nsignal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", script, str(path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        with pytest.raises(ToolError, match="another run"):
            Journal(path, IDENTITY, SCORES)
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # still there
        Journal(path, IDENTITY, SCORES).close()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_journal_removed_while_its_lock_was_waited_for_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = file_lock._try_lock

    def remove_first(descriptor: int) -> None:
        monkeypatch.setattr(file_lock, "_try_lock", real)
        path.unlink()
        real(descriptor)

    monkeypatch.setattr(file_lock, "_try_lock", remove_first)
    with Journal(path, IDENTITY, SCORES) as journal:
        journal.add("key", RESULT)
    assert set(read_journal(path, SCORES).results) == {"key"}


def test_runs_and_outputs_are_remembered(path: Path) -> None:
    with Journal(path, IDENTITY, SCORES) as journal:
        journal.begin_run("inputs", "replaced")
        journal.add("key", RESULT)
    with Journal(path, IDENTITY, SCORES) as journal:
        assert journal.last_run == {"inputs": "inputs", "replaces": "replaced"}
        journal.end_run({"inputs": "inputs", "sha256": "csv"})
    with Journal(path, IDENTITY, SCORES) as journal:
        assert journal.last_output == {"inputs": "inputs", "sha256": "csv"}
