"""The import contract on llama_cpp bites: an import anywhere else breaks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = "llama.cpp has one door in runtime and one in exporter"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["exporter/merge.py", "exporter/verification/verify.py", "runtime/journal.py"])
def test_llama_cpp_anywhere_else_breaks_the_contract(module, tmp_path):
    for room in ("configs", "trainer", "exporter", "runtime", "tui"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    with (tmp_path / module).open("a") as file:
        file.write("\n\ndef _sneak() -> None:\n    import llama_cpp\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{CONTRACT} BROKEN" in done.stdout
    assert "7 kept" not in done.stdout
    assert "exporter.ggml.llama_child" not in done.stdout
