"""The engine's thread: writing and scoring take turns, several replies run at once, and closing ends everything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import ConfigError, ToolError
from runtime.engine import Engine, ModelOptions, Sampling, ScoreRequest, load_engine

LONG = Sampling(temperature=1.5, top_k=0, top_p=1.0, max_tokens=1500, seed=1)
REQUEST = ScoreRequest([1, *range(300, 400)], ((400,), (401,)))


def prompt(seed: int, length: int = 60) -> list[int]:
    return [1, *(300 + (seed * 37 + at * 11) % 300 for at in range(length - 1))]


@pytest.fixture
def wide(models: Path) -> Iterator[Engine]:
    engine = load_engine(ModelOptions(models / "model.gguf", threads=1, parallel=3))
    yield engine
    engine.close()


def test_scoring_does_not_wait_for_a_long_reply_and_its_bits_are_the_same(wide: Engine) -> None:
    alone = wide.score([REQUEST])
    streams = [wide.submit(prompt(seed), LONG) for seed in range(3)]
    for stream in streams:
        next(iter(stream))
    assert wide.score([REQUEST]) == alone
    assert not all(stream.finish for stream in streams), "the replies ended before the score: nothing was shown"
    for stream in streams:
        stream.cancel()
        "".join(stream)


def test_replies_from_several_threads_all_arrive(wide: Engine) -> None:
    ended: list[tuple[str, int]] = []

    def read(seed: int) -> None:
        stream = wide.submit(prompt(seed), replace(LONG, max_tokens=30))
        text = "".join(stream)
        ended.append((stream.finish, len(text)))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 10
    assert {finish for finish, _ in ended} <= {"length", "stop"}


def test_closing_ends_what_runs_what_waits_and_what_comes_later(models: Path) -> None:
    engine = load_engine(ModelOptions(models / "model.gguf", threads=1, parallel=2))
    streams = [engine.submit(prompt(seed), LONG) for seed in range(5)]
    next(iter(streams[0]))
    engine.close()
    for stream in streams:
        "".join(stream)
    assert {stream.finish for stream in streams} <= {"cancelled", "stop"}
    with pytest.raises(ToolError, match="closed"):
        engine.submit(prompt(1), LONG)
    with pytest.raises(ToolError, match="closed"):
        engine.score([REQUEST])
    engine.close()


def test_a_larger_reserve_waits_until_nothing_runs(wide: Engine) -> None:
    wide.reserve(512)
    running = wide.submit(prompt(1), replace(LONG, max_tokens=100))
    wide.reserve(1024)
    long = wide.submit(prompt(2, 900), replace(LONG, max_tokens=2))
    assert "".join(long) is not None
    assert long.finish
    "".join(running)
    assert running.finish in ("length", "stop")


@pytest.mark.parametrize("parallel", [0, 254, -1])
def test_too_many_replies_at_once_are_refused_before_the_load(models: Path, parallel: int) -> None:
    with pytest.raises(ConfigError, match="at once"):
        load_engine(ModelOptions(models / "model.gguf", parallel=parallel))


def test_a_load_can_be_given_up_while_the_weights_come_in(models: Path) -> None:
    shares: list[float] = []

    def give_up(share: float) -> bool:
        shares.append(share)
        return share < 0.3

    with pytest.raises(ToolError, match="given up"):
        load_engine(ModelOptions(models / "model.gguf"), on_progress=give_up)
    assert shares[-1] >= 0.3
    assert max(shares) < 1


def test_what_a_progress_callback_raises_arrives_unharmed(models: Path) -> None:
    def interrupted(share: float) -> bool:
        if share > 0:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        load_engine(ModelOptions(models / "model.gguf"), on_progress=interrupted)
