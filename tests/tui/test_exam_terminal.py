"""The exam room on a real terminal, with real keys; with llama.cpp itself where processes are killed."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import tiny
from tests.runtime import make_gguf
from tests.tui.exams import FORMATS, write_sheet
from tests.tui.terminal import Terminal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None or not sys.platform.startswith("linux"), reason="needs tmux"),
]

ROWS = 300
WORK_S = 60
"""Patience with llama.cpp on a busy machine."""
TUI = "import sys; from tui.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a sheet that keeps it busy, and the answers of a run that nobody disturbed."""
    pytest.importorskip("llama_cpp")
    folder = tmp_path_factory.mktemp("terminal")
    make_gguf.model(folder / "tiny.gguf", tiny.tokenizer(folder), formats=FORMATS)
    rows = [
        replace(question, passage="".join(f"{question.passage}{number}" for number in range(30)))
        for question in tiny.questions(ROWS)
    ]
    write_sheet(folder / "卷 一.csv", rows)
    write_sheet(folder / "few.csv", tiny.questions(12))
    subprocess.run(predict(folder, folder / "whole.csv"), check=True, capture_output=True)
    return folder


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path / "s", width=110, height=30) as terminal:
        yield terminal


def predict(folder: Path, output: Path) -> list[str]:
    """The command without a screen."""
    return [sys.executable, "-P", "-m", "runtime.cli", *words(folder, output)]


def words(folder: Path, output: Path) -> list[str]:
    """The words after `tui` and after `runtime`."""
    sheet, model = folder / "卷 一.csv", folder / "tiny.gguf"
    return [
        "predict",
        str(sheet),
        "--model",
        str(model),
        "--output",
        str(output),
        "--threads",
        "1",
        "--columns",
        "full",
    ]


def start(terminal: Terminal, folder: Path, output: Path) -> None:
    """Open the room on llama.cpp, and wait for the sheet."""
    terminal.start(*words(folder, output), "--lang", "en", module="tui.cli")
    terminal.wait_for("Space starts", WORK_S)


def answered(output: Path) -> int:
    """Rows in the journal."""
    journal = Path(f"{output}.journal.jsonl")
    return journal.read_bytes().count(b'"scores"') if journal.exists() else 0


def assert_left(terminal: Terminal, code: int) -> None:
    """The program is gone, said `code`, and the terminal echoes what is typed."""
    terminal.wait_for(f"rc={code}\n")
    assert terminal.is_restored()
    terminal.type("echo back-$((40 + 2))")
    terminal.press("Enter")
    terminal.wait_for("\nback-42")


def test_a_kill_in_the_room_loses_nothing_and_the_command_finishes(
    terminal: Terminal, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "a.csv"
    start(terminal, folder, output)
    terminal.press("Space")
    terminal.wait(lambda: answered(output) >= 40, WORK_S)
    os.kill(terminal.child(), signal.SIGKILL)
    terminal.wait(lambda: "rc=137" in terminal.screen() or not terminal.is_restored())
    assert not output.exists()
    held = answered(output)
    done = subprocess.run([*predict(folder, output), "--json"], check=True, capture_output=True)
    assert json.loads(done.stdout)["from_journal"] >= held - 1  # the last line may be torn
    assert output.read_bytes() == (folder / "whole.csv").read_bytes()


def test_a_killed_command_is_finished_in_the_room(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    process = subprocess.Popen(predict(folder, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    terminal.wait(lambda: answered(output) >= 40, WORK_S)
    process.kill()
    process.wait()
    start(terminal, folder, output)
    assert "in the journal already" in terminal.screen()
    terminal.press("Space")
    terminal.wait_for("from the journal, 0 unanswered", WORK_S)
    terminal.press("C-q")
    assert_left(terminal, 0)
    assert output.read_bytes() == (folder / "whole.csv").read_bytes()


def test_leaving_in_the_middle_leaves_a_good_journal_and_a_sane_terminal(
    terminal: Terminal, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "a.csv"
    for least, key in ((20, "C-q"), (60, "pause"), (100, "C-q")):
        start(terminal, folder, output)
        terminal.press("Space")
        terminal.wait(lambda: answered(output) >= least, WORK_S)  # noqa: B023
        if key == "pause":
            terminal.press("Space")
            terminal.wait_for("paused: Space goes on")
            held = answered(output)
            time.sleep(0.3)
            assert answered(output) == held
        terminal.press("C-q")
        assert_left(terminal, 0)
        assert not output.exists()
        terminal.type("clear")
        terminal.press("Enter")
    done = subprocess.run([*predict(folder, output), "--json"], check=True, capture_output=True)
    assert json.loads(done.stdout)["from_journal"] >= 100
    assert output.read_bytes() == (folder / "whole.csv").read_bytes()


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_signals_restore_the_terminal(terminal: Terminal, folder: Path, tmp_path: Path, name: str, code: int) -> None:
    output = tmp_path / "a.csv"
    start(terminal, folder, output)
    terminal.press("Space")
    terminal.wait(lambda: answered(output) >= 5, WORK_S)
    os.kill(terminal.child(), signal.Signals[name])
    assert_left(terminal, code)
    assert not output.exists()


def test_a_run_elsewhere_is_told_in_a_sentence(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    process = subprocess.Popen(predict(folder, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        terminal.wait(lambda: answered(output) >= 1, WORK_S)
        process.send_signal(signal.SIGSTOP)
        start(terminal, folder, output)
        terminal.press("Space")
        terminal.wait_for("another run is writing")
        terminal.press("C-q")
        assert_left(terminal, 0)
    finally:
        process.kill()
        process.wait()


def test_a_sheet_is_dropped_answered_and_looked_at_with_keys_alone(
    terminal: Terminal, folder: Path, tmp_path: Path
) -> None:
    arguments = ["predict", "--model", str(folder / "tiny.gguf"), "--lang", "en"]
    terminal.type(f"cd {tmp_path}")
    terminal.press("Enter")
    terminal.type(f"PYTHONPATH={Path.cwd()} {sys.executable} -m tui.cli {' '.join(arguments)}; echo rc=$?")
    terminal.press("Enter")
    terminal.wait_for("No sheet yet")
    terminal.paste(f"'{folder / 'few.csv'}'")
    terminal.wait_for("12 rows")
    terminal.press("Space")
    terminal.wait_for("12 computed", WORK_S)
    terminal.press("2")
    terminal.press("Enter")
    terminal.wait_for("Passage")
    assert "█" in terminal.screen()
    assert "✗ wrong" in terminal.screen()
    terminal.press("Escape")
    terminal.wait(lambda: "Passage" not in terminal.screen())
    terminal.press("e")
    terminal.wait_for("ID,Answer for Kaggle")
    terminal.press("Enter")
    terminal.wait_for("few.answers.kaggle.csv")
    terminal.press("Enter")
    terminal.wait_for("12 of them answered")
    terminal.press("C-q")
    assert_left(terminal, 0)
    assert (tmp_path / "few.answers.kaggle.csv").read_bytes() == (tmp_path / "few.answers.csv").read_bytes()


def test_random_sizes_leave_the_room_alive(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    start(terminal, folder, tmp_path / "a.csv")
    terminal.press("Space")
    for width, height in ((20, 5), (5, 3), (150, 50), (40, 9), (33, 12), (110, 30)):
        terminal.resize(width, height)
        terminal.press("Down")
        time.sleep(0.1)
    terminal.wait_for("questions/s", WORK_S)
    terminal.press("C-q")
    assert_left(terminal, 0)


@pytest.mark.parametrize("way", ["--no-tui", "dumb"])
def test_a_terminal_without_a_screen_gets_no_escape_bytes(folder: Path, tmp_path: Path, way: str) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-c", TUI, *words(folder, tmp_path / "a.csv"), *(["--no-tui"] if way != "dumb" else [])]
    environment = {**os.environ, "TERM": "dumb" if way == "dumb" else "xterm-256color"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    said = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        said += part
    os.close(master)
    assert process.wait() == 0
    assert b"\x1b" not in said
    assert b"300 rows: 300 computed" in said
    assert (tmp_path / "a.csv").read_bytes() == (folder / "whole.csv").read_bytes()
