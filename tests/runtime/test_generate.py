"""Replies: seeded, stopped, cancelled, and in whole characters."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from configs.errors import ToolError
from configs.prompt import encode
from runtime.engine import Engine, Sampling
from runtime.stops import StopFilter

WARM = Sampling(temperature=1.0, top_k=0, top_p=1.0, max_tokens=60, seed=7)


@pytest.fixture
def prompt(engine: Engine) -> list[int]:
    return encode(
        engine.formats.prompt.prompt([{"role": "user", "content": "志明今天說到什麼？" * 20}]), engine.tokenizer
    )


def test_the_same_seed_gives_the_same_text_whatever_was_asked_before(engine: Engine, prompt: list[int]) -> None:
    first = "".join(engine.submit(prompt, WARM))
    "".join(engine.submit(prompt[:150], replace(WARM, seed=1)))
    assert "".join(engine.submit(prompt, WARM)) == first
    assert "".join(engine.submit(prompt, replace(WARM, seed=8))) != first


def test_no_seed_draws_a_new_one(engine: Engine, prompt: list[int]) -> None:
    assert len({"".join(engine.submit(prompt, replace(WARM, seed=None))) for _ in range(3)}) > 1


def test_temperature_zero_takes_the_likeliest(engine: Engine, prompt: list[int]) -> None:
    greedy = replace(WARM, temperature=0.0, seed=None)
    assert "".join(engine.submit(prompt, greedy)) == "".join(engine.submit(prompt, greedy))


def test_a_reply_ends_at_max_tokens_and_counts(engine: Engine, prompt: list[int]) -> None:
    stream = engine.submit(prompt, replace(WARM, max_tokens=5))
    "".join(stream)
    assert (stream.finish, stream.tokens, stream.prompt_tokens) == ("length", 5, len(prompt))
    assert stream.prompt_seconds > 0
    assert stream.seconds >= 0


def test_a_reply_ends_at_a_stop_string_without_it(engine: Engine, prompt: list[int]) -> None:
    text = "".join(engine.submit(prompt, WARM))
    stop = text[10:13]
    stream = engine.submit(prompt, replace(WARM, stop=(stop,)))
    assert "".join(stream) == text[: text.index(stop)]
    assert stream.finish == "stop"


def test_every_piece_is_whole_characters(engine: Engine, prompt: list[int]) -> None:
    for piece in engine.submit(prompt, replace(WARM, max_tokens=200)):
        assert piece
        piece.encode("utf-8")


def test_a_cancelled_reply_ends_and_the_next_one_runs(engine: Engine, prompt: list[int]) -> None:
    stream = engine.submit(prompt, replace(WARM, max_tokens=1500))
    for _ in stream:
        stream.cancel()
    assert stream.finish == "cancelled"
    assert stream.tokens < 1500
    assert "".join(engine.submit(prompt, replace(WARM, max_tokens=3)))


def test_a_waiting_reply_can_be_cancelled_before_its_turn(engine: Engine, prompt: list[int]) -> None:
    running = engine.submit(prompt, replace(WARM, max_tokens=200))
    waiting = engine.submit(prompt, WARM)
    waiting.cancel()
    assert list(waiting) == []
    assert waiting.finish == "cancelled"
    "".join(running)
    assert running.finish in ("length", "stop")


def test_two_threads_share_the_engine(engine: Engine, prompt: list[int]) -> None:
    wanted = "".join(engine.submit(prompt, WARM))
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append("".join(engine.submit(prompt, WARM)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [wanted] * 3


def test_a_full_context_ends_the_reply(engine: Engine) -> None:
    engine.reserve(256)
    stream = engine.submit([1] + [300] * 239, replace(WARM, max_tokens=400))
    "".join(stream)
    assert stream.finish == "length" or stream.tokens < 17
    assert stream.prompt_tokens + stream.tokens <= 257
    with pytest.raises(ToolError, match="the context holds 256"):
        engine.submit([1] * 256, WARM)
    engine.reserve(2048)


def test_stop_strings_are_held_back_only_as_long_as_needed() -> None:
    stops = StopFilter(["User:", "</s>"])
    assert [stops.feed(text) for text in ("hello U", "se", "d </", "s", ">more")] == ["hello ", "", "Used ", "", ""]
    assert stops.stopped
    assert stops.flush() == ""
    open_end = StopFilter(["</s>"])
    assert open_end.feed("a <") + open_end.flush() == "a <"
