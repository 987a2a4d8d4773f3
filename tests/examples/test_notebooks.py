"""The notebooks run from their first cell to their last, on models made for the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import tiny

FOLDER = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.slow


def execute(name: str, parameters: dict[str, Any]) -> str:
    """Run a notebook with other parameters; all that its cells printed."""
    import nbclient
    import nbformat

    notebook = nbformat.read(FOLDER / name, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    told = {line.split("=")[0].strip() for line in cell.source.splitlines() if line[:1].isupper()}
    assert told == parameters.keys(), "the notebook has other parameters"
    cell.source = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(FOLDER)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return json.dumps([dict(output) for output in outputs], ensure_ascii=False)


def test_a_stored_notebook_holds_no_output() -> None:
    for path in FOLDER.glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert notebook["nbformat"] == 4
        assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook["cells"]), path.name


def test_the_notebook_that_trains(tiny_base: Path, tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "sheet.xlsx", tiny.questions(40))
    settings = {
        "training.steps": 4, "training.batch_size": 2, "training.accumulation": 1, "evaluation.every": 2,
        "training.gradient_checkpointing": "false",
    }  # fmt: skip
    told = execute(
        "train.ipynb",
        {"BASE": str(tiny_base), "SHEET": str(sheet), "WORK": str(tmp_path / "work"), "SETTINGS": settings},
    )
    assert "image/png" in told
    assert "exam accuracy" in told
    assert "cheapest way that fits" in told
    assert (tmp_path / "work" / "answers.csv").read_bytes().startswith(b"ID,Answer")


def test_the_notebook_that_chats(tiny_base: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    code, _, err = tiny.run_cli(
        "exporter.cli", "merge", "--base", tiny_base, "--format", "gguf", "--type", "f16", "--output", model
    )
    assert code == 0, err
    told = execute("chat.ipynb", {"MODEL": str(model), "QUESTION": "欣怡今天說到什麼？"})
    assert "4 messages" in told
    assert "秋天" in told
