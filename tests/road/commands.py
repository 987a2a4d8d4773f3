"""The four commands as programs of their own, as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def command(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    argv = [str(Path(sys.executable).parent / name), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT)


def done(name: str, *words: object) -> str:
    """stdout of a command that must succeed."""
    result = command(name, *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def predict(sheet: Path, model: Path, output: Path, *words: object) -> dict[str, Any]:
    """The JSON summary of a prediction run."""
    return json.loads(
        done("runtime", "predict", sheet, "--model", model, "--output", output, "--json", "--threads", 1, *words)
    )
