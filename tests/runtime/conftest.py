"""Tiny GGUFs and a sheet, made once for this room's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.formats import Formats
from runtime.engine import Engine, ModelOptions, load_engine
from tests import tiny
from tests.runtime import make_gguf


@pytest.fixture(scope="session")
def formats() -> Formats:
    return Formats.load("alpaca2", "formosa")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, formats: Formats) -> Path:
    """A folder: tokenizer.model, model.gguf (f32), q4_0.gguf, other.gguf (other weights), bare.gguf (no formats), adapter.gguf."""
    folder = tmp_path_factory.mktemp("gguf")
    vocabulary = tiny.tokenizer(folder)
    make_gguf.model(folder / "model.gguf", vocabulary, formats=formats)
    make_gguf.model(folder / "other.gguf", vocabulary, formats=formats, seed=1)
    make_gguf.model(folder / "q4_0.gguf", vocabulary, formats=formats, q4_0=True)
    make_gguf.model(folder / "bare.gguf", vocabulary)
    make_gguf.adapter(folder / "adapter.gguf")
    return folder


@pytest.fixture(scope="session")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 questions with labels; the last repeats the first."""
    questions = tiny.questions(39)
    return tiny.sheet(tmp_path_factory.mktemp("sheet") / "gold.xlsx", [*questions, questions[0]])


@pytest.fixture(scope="module")
def engine(models: Path) -> Iterator[Engine]:
    engine = load_engine(ModelOptions(models / "model.gguf", threads=1))
    yield engine
    engine.close()
