"""The chat on llama.cpp itself, with a tiny model of random weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from configs.formats import Formats
from configs.prompt import PromptFormat
from tests import tiny
from tests.runtime import make_gguf
from tests.tui.loading_rows import ROWS
from tests.tui.terminal import Terminal

pytest.importorskip("llama_cpp")
pytestmark = pytest.mark.slow

TUI = "import sys; from tui.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that carries its prompt format."""
    folder = tmp_path_factory.mktemp("gguf")
    formats = Formats(prompt=PromptFormat.load("alpaca2"), question=None)
    return make_gguf.model(folder / "tiny.gguf", tiny.tokenizer(folder), formats=formats)


def tui(*arguments: object, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the command with a pipe on every side."""
    command = [sys.executable, "-c", TUI, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120)


def test_a_pipe_is_answered_and_nothing_of_llama_cpp_is_seen(gguf: Path) -> None:
    runs = [tui("chat", "--model", gguf, "--seed", 1, "--max-tokens", 20, stdin="你好".encode()) for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0]
    assert runs[0].stdout == runs[1].stdout != b""
    assert b"\x1b" not in runs[0].stdout + runs[0].stderr
    narration = runs[0].stderr.decode().splitlines()
    assert narration[0].startswith("loading tiny")
    assert narration[-1].startswith("[")
    assert not any("llama" in line or "ggml" in line for line in narration)


def test_a_model_without_a_format_names_the_formats(gguf: Path, tmp_path: Path) -> None:
    bare = make_gguf.model(tmp_path / "bare.gguf", tiny.tokenizer(tmp_path))
    refused = tui("chat", "--model", bare, stdin=b"hi")
    assert refused.returncode == 2
    assert b"--prompt-format" in refused.stderr
    taken = tui("chat", "--model", bare, "--prompt-format", "vicuna", "--max-tokens", 5, stdin=b"hi")
    assert taken.returncode == 0


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_the_screen_survives_loading_stopping_and_leaving(gguf: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path / "s") as terminal:
        terminal.type(f"{sys.executable} -c '{TUI}' chat --model {gguf} --max-tokens 2000; echo rc=$?")
        terminal.press("Enter")
        terminal.wait_for("ready")
        frame = terminal.screen()
        assert "Ask something" in frame
        assert "╭" in frame
        assert "llama" not in frame
        stopped = 0
        for _ in range(8):  # a model of random weights may end a reply before the key arrives
            terminal.type("你好 [/b]")
            terminal.press("Enter")
            terminal.wait_for("You")
            terminal.press("Escape")
            terminal.wait_for("ready")
            stopped += "stopped" in terminal.screen()
            if stopped == 2:
                break
            terminal.press("C-l")
            terminal.wait_for("Nothing leaves this machine")
        assert stopped == 2
        terminal.press("C-q")
        terminal.wait_for("rc=0")
        assert terminal.is_restored()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes a while: 35 million weights."""
    folder = tmp_path_factory.mktemp("large")
    formats = Formats(prompt=PromptFormat.load("alpaca2"), question=None)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("HIDDEN", 768), ("FEED", 3072), ("LAYERS", 4)):
            patch.setattr(make_gguf, name, value)
        return make_gguf.model(folder / "large.gguf", tiny.tokenizer(folder), formats=formats)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_nothing_that_is_painted_while_a_model_loads_is_lost(large: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path / "s", 80, 45) as terminal:
        terminal.start(str(large), module="tests.tui.loading_rows")
        terminal.wait(lambda: "loaded" in terminal.screen() and "row 39 painted" in terminal.screen(), 60)
        lines = [line.strip() for line in terminal.screen().splitlines()]
        assert lines[:ROWS] == [f"row {row} painted" for row in range(ROWS)]
        assert not any("llama" in line or "ggml" in line for line in lines)
        terminal.press("C-q")
        terminal.wait_for("rc=0")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_escape_ends_the_reading_of_a_long_prompt_and_the_next_message_is_answered(large: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path / "s", 100, 30) as terminal:
        terminal.type(f"{sys.executable} -c '{TUI}' chat --model {large} --max-tokens 3 --threads 1; echo rc=$?")
        terminal.press("Enter")
        terminal.wait_for("ready")
        terminal.paste("天" * 1300)
        terminal.wait(lambda: "天天天" in terminal.screen())
        terminal.press("Enter")
        terminal.wait_for("reading the prompt")
        terminal.press("Escape")
        terminal.wait_for("stopped before the first word")
        assert "Traceback" not in terminal.screen()
        terminal.type("hi")
        terminal.press("Enter")
        terminal.wait(lambda: "tokens" in terminal.screen().split("hi")[-1] and "ready" in terminal.screen())
        terminal.press("C-q")
        terminal.wait_for("rc=0")
