"""Two models compared on llama.cpp itself, tiny ones of random weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.message import Message

from configs.formats import Formats
from runtime.engine import ModelOptions, Sampling
from tests import tiny
from tests.runtime import make_gguf
from tests.tui.terminal import Terminal
from tui.compare.messages import LoadedAhead, RoundEnded
from tui.compare.preparing import prepare
from tui.compare.settings import CompareSettings
from tui.compare.worker import CompareWorker
from tui.compare_launch import _load

pytest.importorskip("llama_cpp")
pytestmark = pytest.mark.slow

TUI = "import sys; from tui.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """f32.gguf and q4_0.gguf of the same weights, lora.gguf for them, and sheet.xlsx with labels."""
    folder = tmp_path_factory.mktemp("compare")
    vocabulary = tiny.tokenizer(folder)
    formats = Formats.load("alpaca2", "formosa")
    make_gguf.model(folder / "f32.gguf", vocabulary, formats=formats)
    make_gguf.model(folder / "q4_0.gguf", vocabulary, formats=formats, q4_0=True)
    make_gguf.adapter(folder / "lora.gguf")
    tiny.sheet(folder / "考題.xlsx", tiny.questions(24))
    return folder


def compare(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command in the folder with a pipe on every side."""
    command = [sys.executable, "-c", TUI, "compare", *arguments]
    root = Path(__file__).parents[2]
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=300, cwd=folder, env=_environment(root, folder)
    )


def _environment(root: Path, folder: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(root), "TUI_DATA_DIR": str(folder / "chats")}


MODELS = ("--model", "f32.gguf", "--model", "q4_0.gguf")


def test_one_prompt_on_two_models_is_the_same_again_with_the_same_seed(folder: Path) -> None:
    runs = [
        compare(folder, *MODELS, "--seed", "3", "--max-tokens", "12", "--json", stdin="你好".encode()) for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0]
    tables = [json.loads(run.stdout) for run in runs]
    texts = [[model["text"] for model in table["models"]] for table in tables]
    assert texts[0] == texts[1]
    assert tables[0]["seed"] == 3
    assert all(model["tokens_per_second"] > 0 for model in tables[0]["models"])
    assert not any(b"llama" in run.stderr or b"ggml" in run.stderr for run in runs)


def test_a_sheet_agrees_with_what_predict_and_evaluate_say(folder: Path) -> None:
    run = compare(folder, *MODELS, "考題.xlsx", "--json")
    assert run.returncode == 0, run.stderr.decode()
    table = json.loads(run.stdout)
    answers = {}
    for name in ("f32", "q4_0"):
        code, out, _ = tiny.run_cli(
            "runtime.cli", "predict", folder / "考題.xlsx", "--model", folder / f"{name}.gguf",
            "--output", folder / f"{name}.csv", "--json",
        )  # fmt: skip
        assert code == 0
        answers[name] = json.loads(out)["accuracy"]
    assert [model["accuracy"] for model in table["models"]] == [pytest.approx(value) for value in answers.values()]
    csvs = [(folder / f"{name}.csv").read_text().splitlines()[1:] for name in ("f32", "q4_0")]
    differing = [one.split(",")[0] for one, other in zip(*csvs, strict=True) if one != other]
    assert [one["id"] for one in table["disagreements"]] == differing


def test_an_adapter_belongs_to_the_model_before_it(folder: Path) -> None:
    run = compare(
        folder, "--model", "f32.gguf", "--model", "f32.gguf", "--adapter", "lora.gguf=2", "--temperature", "0",
        "--max-tokens", "8", "--json", "-p", "你好",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr.decode()
    assert [model["name"] for model in json.loads(run.stdout)["models"]] == ["f32", "f32 + lora=2"]
    alone = compare(folder, "--model", "f32.gguf", "--adapter", "lora.gguf", "--model", "f32.gguf", "--json", "-p", "x")
    assert [model["name"] for model in json.loads(alone.stdout)["models"]] == ["f32 + lora", "f32"]


@pytest.mark.own_process
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_both_models_leave_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_gguf, "HIDDEN", 512)
    monkeypatch.setattr(make_gguf, "FEED", 2048)
    formats = Formats.load("alpaca2", "formosa")
    vocabulary = tiny.tokenizer(tmp_path)
    paths = [make_gguf.model(tmp_path / f"{seed}.gguf", vocabulary, formats=formats, seed=seed) for seed in range(2)]
    size = sum(path.stat().st_size for path in paths)
    assert size > 50 << 20
    settings = CompareSettings(models=(ModelOptions(model=paths[0]), ModelOptions(model=paths[1])))
    loads = tuple(partial(_load, options) for options in settings.models)

    def once() -> tuple[int, int]:
        heard: dict[type, threading.Event] = {kind: threading.Event() for kind in (LoadedAhead, RoundEnded)}

        def post(message: Message) -> None:
            if type(message) in heard:
                heard[type(message)].set()

        worker = CompareWorker(lambda: prepare(settings), loads)  # type: ignore[arg-type]
        worker.start(post)
        assert heard[LoadedAhead].wait(120)
        worker.ask(1, "你好", None, Sampling(max_tokens=4, seed=1))
        assert heard[RoundEnded].wait(120)
        loaded = resident_file_bytes()
        assert worker.close(60)
        return loaded, resident_file_bytes()

    once()  # libraries stay: they are not a model's
    before = resident_file_bytes()
    loaded, after = once()
    assert loaded - before > 0.8 * size
    assert after - before < 0.1 * size


def resident_file_bytes() -> int:
    """What of files is in this process's memory: weights are mapped, and heap that is free but kept does not count."""
    fields: dict[str, Any] = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    return int(fields["RssFile"].split()[0]) << 10


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_the_screen_compares_and_leaves(folder: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path / "s", 110, 30) as terminal:
        terminal.type(f"cd {folder}; export PYTHONPATH={Path(__file__).parents[2]}")
        terminal.press("Enter")
        terminal.type(f"{sys.executable} -c '{TUI}' compare {' '.join(MODELS)} --max-tokens 20; echo rc=$?")
        terminal.press("Enter")
        terminal.wait_for("ready")
        terminal.type("你好 [/b] བོད")
        terminal.press("Enter")
        terminal.wait_for("seed ")
        assert "你好 [/b] བོད" in terminal.screen()
        assert "llama" not in terminal.screen()
        terminal.press("C-q")
        terminal.wait_for("rc=0")
        assert terminal.is_restored()
        terminal.type(f"{sys.executable} -c '{TUI}' compare {' '.join(MODELS)} 考題.xlsx; echo rc=$?")
        terminal.press("Enter")
        terminal.wait_for("McNemar")
        terminal.wait_for("done  ")
        terminal.press("Enter")
        terminal.wait_for("right")
        terminal.press("Escape", "C-q")
        terminal.wait(lambda: terminal.screen().count("rc=0") == 1 and "McNemar" not in terminal.screen())
        assert terminal.is_restored()
