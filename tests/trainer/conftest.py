"""A small dataset, a sheet to make it of, and short trainings on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import tiny

if TYPE_CHECKING:
    from tests.trainer.fork_server import ForkServer

QUICK = {
    "training.steps": 4,
    "training.batch_size": 2,
    "training.accumulation": 1,
    "training.learning_rate": 1e-3,
    "training.gradient_checkpointing": "false",
    "lora.rank": 4,
    "lora.alpha": 6,
    "lora.dropout": 0.1,
    "evaluation.rows": 12,
    "evaluation.every": 2,
}


@pytest.fixture(scope="session")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question sheet of 60 rows, two to a passage."""
    return tiny.sheet(tmp_path_factory.mktemp("sheet") / "sheet.xlsx", tiny.questions(60))


@pytest.fixture(scope="session")
def dataset(sheet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder made of `sheet`."""
    folder = tmp_path_factory.mktemp("dataset") / "data"
    code, _, err = tiny.run_cli("trainer.cli", "prepare", sheet, "--output", folder)
    assert code == 0, err
    return folder


@pytest.fixture(scope="session")
def trainings() -> Iterator[ForkServer]:
    """Runs short trainings without importing torch and its company for each."""
    from tests.trainer.fork_server import ForkServer

    server = ForkServer()
    yield server
    server.close()


def fit_arguments(base: Path, data: Path, output: Path, *more: object, **changes: object) -> list[str]:
    """Arguments of a short `trainer fit`; `changes` are settings, with `__` for the dot."""
    settings = QUICK | {key.replace("__", "."): value for key, value in changes.items()}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["fit", "--model", str(base), "--data", str(data), "--output", str(output), *sets, *map(str, more)]


def run_fit(base: Path, data: Path, output: Path, *more: object, **changes: object) -> tuple[int, str, str]:
    """Run a short `trainer fit`, its launcher in this process: (exit code, stdout, stderr)."""
    return tiny.run_cli("trainer.cli", *fit_arguments(base, data, output, *more, **changes))


def start_fit(
    base: Path, data: Path, output: Path, *more: object, before: str = "", **changes: object
) -> subprocess.Popen[str]:
    """Start a short `trainer fit` as a process of its own; `before` is Python that runs there first."""
    program = f"import sys\nfrom trainer.cli import main\n{before}\nsys.exit(main())"
    command = [sys.executable, "-c", program, *fit_arguments(base, data, output, *more, **changes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def losses(adapter: Path) -> list[float]:
    """Training losses of a run, step by step."""
    return [record["loss"] for record in records(adapter) if "loss" in record]


def records(adapter: Path) -> list[dict[str, Any]]:
    """metrics.jsonl of a run."""
    return [json.loads(line) for line in (adapter / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def weights(adapter: Path) -> bytes:
    """Bytes of a run's adapter."""
    return (adapter / "adapter_model.safetensors").read_bytes()
