"""Tests keep their chats, and the language they chose, to themselves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.engine import ModelOptions
from tests import tiny
from tui.exam.settings import ExamSettings
from tui.keys import use_keys
from tui.words import choose

_FOLDER = tempfile.TemporaryDirectory(prefix="tui-chats-")
os.environ["TUI_DATA_DIR"] = _FOLDER.name  # before any test module reads the default


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """What one test chose to speak is nothing to the next."""
    yield
    choose("en")
    use_keys({})


@pytest.fixture(scope="session")
def exam_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real header: formats, identity and journal come from it; the engine is scripted."""
    from tests.runtime import make_gguf
    from tests.tui.exams import FORMATS

    folder = tmp_path_factory.mktemp("exam-model")
    return make_gguf.model(folder / "tiny.gguf", tiny.tokenizer(folder), formats=FORMATS)


@pytest.fixture
def settings(exam_model: Path, tmp_path: Path) -> ExamSettings:
    """A visit to the exam room, with a sheet of sixty questions."""
    from tests.tui.exams import write_sheet

    sheet = write_sheet(tmp_path / "卷.csv", tiny.questions(60))
    return ExamSettings(ModelOptions(exam_model), sheet, tmp_path / "a.csv", data_folder=tmp_path / "data")
