"""Several prompts in one batch, as on a GPU: near what each alone gives, and the same bits for the same pack."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.engine import Engine, ModelOptions, ScoreRequest, load_engine

NEAR = {"model.gguf": 0.05, "q4_0.gguf": 0.25}  # nats between one batch and many; rounded activations, 64 wide, add up
FORKED = ((300,), (301, 302), (301, 303), (304, 305))


def ids(count: int, seed: int) -> tuple[int, ...]:
    draw = random.Random(seed)
    return tuple(draw.randrange(300, 600) for _ in range(count))


def pack(passages: int = 3, questions: int = 4, orders: int = 2, start: int = 40) -> list[ScoreRequest]:
    """Rows of `orders` prompts each on shared passages; every prompt begins with the same `start` tokens."""
    found = []
    for passage in range(passages):
        text = (1, *ids(start - 1, 0), *ids(60 + 30 * passage, 10 + passage))
        for question in range(questions):
            stem = (*text, *ids(20, 100 * passage + question))
            for order in range(orders):
                prompt = (*stem, *ids(15 + order, 7 * question + order))
                found.append(ScoreRequest(prompt, FORKED, (start, len(text), len(stem)), (0, 1, 1, 2)))
    return found


def alone(engine: Engine, requests: list[ScoreRequest]) -> list[list[float]]:
    return [engine.score([request])[0] for request in requests]


@pytest.fixture(scope="module", params=["model.gguf", "q4_0.gguf"])
def path(models: Path, request: pytest.FixtureRequest) -> Path:
    """An f32 model has other attention kernels and another cache than the rest."""
    return models / str(request.param)


@pytest.fixture(scope="module")
def packing(path: Path) -> Iterator[Engine]:
    engine = load_engine(ModelOptions(path, threads=1, pack_tokens=512))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def single(path: Path) -> Iterator[Engine]:
    engine = load_engine(ModelOptions(path, threads=1))
    yield engine
    engine.close()


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 40), (1, 4, 1, 40), (3, 1, 1, 40), (3, 4, 2, 40), (2, 4, 4, 2), (3, 3, 1, 0)]
)
def test_a_pack_gives_what_its_rows_alone_give(
    path: Path, single: Engine, packing: Engine, shape: tuple[int, ...]
) -> None:
    passages, questions, orders, start = shape
    requests = pack(passages, questions, orders, max(start, 1))
    for scores, wanted in zip(packing.score(requests), alone(single, requests), strict=True):
        assert scores == pytest.approx(wanted, abs=NEAR[path.name])


def test_the_same_pack_gives_the_same_bits_whatever_came_before(path: Path, packing: Engine) -> None:
    packs = [pack(), pack(1, 1, 1), pack(2, 3, 4), pack(4, 2, 1, 60)]
    wanted = [packing.score(requests) for requests in packs]
    engine = load_engine(ModelOptions(path, threads=1, pack_tokens=512))
    for index in (3, 0, 2, 1, 0, 3):
        assert engine.score(packs[index]) == wanted[index]
    engine.close()


def test_a_prompt_longer_than_a_batch_and_a_pack_larger_than_the_context(path: Path, single: Engine) -> None:
    requests = [ScoreRequest((1, *ids(700, seed)), FORKED) for seed in range(4)]
    packing = load_engine(ModelOptions(path, threads=1, pack_tokens=128))
    packing.reserve(710)
    for scores, wanted in zip(packing.score(requests), alone(single, requests), strict=True):
        assert scores == pytest.approx(wanted, abs=NEAR[path.name])
    packing.close()


def test_questions_that_come_alone_do_not_depend_on_their_company(single: Engine) -> None:
    orders = 2
    requests = pack(orders=orders)
    questions = [requests[at : at + orders] for at in range(0, len(requests), orders)]
    wanted = [single.score(question) for question in questions]
    shuffled = random.Random(1).sample(range(len(questions)), len(questions))
    assert [single.score(questions[index]) for index in shuffled] == [wanted[index] for index in shuffled]


def test_the_orders_of_a_question_are_the_same_bits_on_any_number_of_threads(path: Path) -> None:
    wanted: dict[int, list[list[float]]] = {}
    for threads in (1, 2):
        engine = load_engine(ModelOptions(path, threads=threads))
        for number, question in enumerate([pack(1, 1, 4), pack(1, 1, 24, 2), pack(1, 1, 4, 90)]):
            scores = engine.score(question)
            assert wanted.setdefault(number, scores) == scores
        engine.close()
