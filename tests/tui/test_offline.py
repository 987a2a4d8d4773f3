"""Nothing asks the network: without interfaces all goes on as it does, and no socket but a local one is opened."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from configs.formats import Formats
from tests import tiny
from tests.runtime import make_gguf
from tests.tui.terminal import Terminal

pytest.importorskip("llama_cpp")

TUI = "import sys; from tui.cli import main; sys.exit(main())"
_ALONE = ["unshare", "--map-root-user", "--net"]


def _can_be_alone() -> bool:
    try:
        return subprocess.run([*_ALONE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _can_be_alone(), reason="needs unshare and the right to use it"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and a sheet."""
    folder = tmp_path_factory.mktemp("offline")
    vocabulary = tiny.tokenizer(folder)
    formats = Formats.load("alpaca2", "formosa")
    make_gguf.model(folder / "a.gguf", vocabulary, formats=formats)
    make_gguf.model(folder / "b.gguf", vocabulary, formats=formats, seed=1)
    tiny.sheet(folder / "exam.xlsx", tiny.questions(6))
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "chat --model a.gguf --max-tokens 5 -p 你好",
        "compare --model a.gguf --model b.gguf --max-tokens 5 -p 你好",
        "compare --model a.gguf --model b.gguf exam.xlsx",
        "predict exam.xlsx --model a.gguf --output answers.csv",
    ],
)
def test_no_command_connects_to_anything(folder: Path, tmp_path: Path, line: str) -> None:
    trace = tmp_path / "trace"
    tracing = ["strace", "-f", "-e", "trace=connect", "-o", str(trace)] if shutil.which("strace") else []
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TUI_DATA_DIR": str(tmp_path / "chats"),
        "PATH": "/usr/bin:/bin",
    }
    command = [*_ALONE, *tracing, sys.executable, "-c", TUI, *line.split()]
    done = subprocess.run(
        command, capture_output=True, timeout=300, cwd=folder, env=environment, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr.decode()
    if tracing:
        calls = re.findall(r"connect\(.*", trace.read_text(errors="replace"))
        assert all("AF_UNIX" in call for call in calls), calls


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_the_screen_works_without_any_network(folder: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path / "s", 100, 30) as terminal:
        terminal.type(
            f"{' '.join(_ALONE)} {sys.executable} -c '{TUI}' chat --model {folder / 'a.gguf'} --max-tokens 8; echo rc=$?"
        )
        terminal.press("Enter")
        terminal.wait_for("ready")
        terminal.type("你好")
        terminal.press("Enter")
        terminal.wait(lambda: "8 tokens" in terminal.screen() or "tokens/s" in terminal.screen())
        terminal.press("C-q")
        terminal.wait_for("rc=0")
        assert terminal.is_restored()
