"""The screen opens quickly: it waits for nothing that only the model needs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "peft", "pandas", "openpyxl", "llama_cpp", "numpy", "python_calamine")


def imported_by(statement: str) -> set[str]:
    """The top-level modules that a statement brings in, in a fresh interpreter."""
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_app_imports_nothing_that_only_the_model_needs() -> None:
    modules = imported_by("import tui.app, tui.launch, tui.plain, tui.settings, tui.worker, tui.exam_app")
    assert not modules & {*HEAVY, "pydantic", "jinja2"}  # the first frame waits for none of them
    assert "textual" in modules


def test_the_command_line_imports_no_screen() -> None:
    assert not imported_by("from tui.cli import build_parser; build_parser()") & {*HEAVY, "textual", "rich", "pydantic"}
