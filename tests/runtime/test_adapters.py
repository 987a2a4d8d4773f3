"""Adapters plugged in, weighted and out of a loaded model: the bits of a fresh load each time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.formats import Formats
from runtime.engine import Engine, ModelOptions, Sampling, ScoreRequest, load_engine
from tests.runtime import make_gguf

PROMPT = [1, *range(300, 380)]
REQUEST = ScoreRequest(PROMPT, ((400,), (401,)))
SEEDED = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=30, seed=1)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return [make_gguf.adapter(folder / f"{seed}.gguf", seed=seed) for seed in (1, 2)]


@pytest.fixture
def exchanging(models: Path) -> Iterator[Engine]:
    engine = load_engine(ModelOptions(models / "model.gguf", threads=1))
    yield engine
    engine.close()


def results(engine: Engine) -> tuple[list[list[float]], str]:
    return engine.score([REQUEST]), "".join(engine.submit(PROMPT, SEEDED))


def fresh(models: Path, plugged: tuple[tuple[Path, float], ...]) -> tuple[list[list[float]], str]:
    engine = load_engine(ModelOptions(models / "model.gguf", adapters=plugged, threads=1))
    try:
        return results(engine)
    finally:
        engine.close()


def test_every_exchange_equals_a_fresh_load_bit_by_bit(models: Path, exchanging: Engine, adapters: list[Path]) -> None:
    one, two = adapters
    settings = [(), ((one, 1.0),), ((one, 0.5),), ((one, 0.5), (two, 2.0)), ((two, 2.0),), ((one, 0.0),), ()]
    seen = []
    for plugged in settings:
        exchanging.set_adapters(plugged)
        seen.append(results(exchanging))
        assert seen[-1] == fresh(models, plugged)
    assert seen[0] == seen[-1] == seen[-2]
    assert len({scores[0][0] for scores, _ in seen}) == 5


def test_what_was_submitted_before_ends_with_the_old_adapters(exchanging: Engine, adapters: list[Path]) -> None:
    before = "".join(exchanging.submit(PROMPT, SEEDED))
    stream = exchanging.submit(PROMPT, SEEDED)
    exchanging.set_adapters([(adapters[0], 1.0)])
    assert "".join(stream) == before
    assert "".join(exchanging.submit(PROMPT, SEEDED)) != before


def test_a_refused_adapter_changes_nothing(exchanging: Engine, adapters: list[Path], tmp_path: Path) -> None:
    exchanging.set_adapters([(adapters[0], 1.0)])
    before = results(exchanging)
    for wrong in (tmp_path / "nothing.gguf", make_gguf.adapter(tmp_path / "wide.gguf", hidden=96)):
        with pytest.raises(ConfigError):
            exchanging.set_adapters([(wrong, 1.0)])
    assert results(exchanging) == before


def test_the_adapters_formats_win_and_go_with_it(exchanging: Engine, tmp_path: Path, formats: Formats) -> None:
    lab4 = Formats.load("alpaca2", "lab4")
    adapter = make_gguf.adapter(tmp_path / "lab4.gguf", formats=lab4)
    assert exchanging.set_adapters([(adapter, 1.0)]) == ("the formats of lab4.gguf are used, not those of model.gguf",)
    assert exchanging.formats == lab4
    assert "lab4.gguf" in exchanging.notes[0]
    assert exchanging.set_adapters([]) == ()
    assert exchanging.formats == formats


def test_an_adapter_whose_file_was_replaced_is_read_again(
    models: Path, exchanging: Engine, adapters: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "adapter.gguf"
    seen = []
    for source in adapters:
        shutil.copyfile(source, path)
        exchanging.set_adapters([(path, 1.0)])
        seen.append(results(exchanging))
    assert seen == [fresh(models, ((source, 1.0),)) for source in adapters]
