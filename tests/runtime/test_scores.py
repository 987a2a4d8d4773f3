"""Label scores: right against an oracle, and the same bits whatever happened before."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from configs.errors import MachineError, ToolError
from runtime.engine import Engine, ModelOptions, ScoreRequest, load_engine

TOLERANCE = 0.03  # nats; the oracle's cache holds f16, and its batches are others
MODELS = ["model.gguf", "q4_0.gguf"]  # an f32 model has other attention kernels and another cache than the rest


def ids(count: int, seed: int) -> tuple[int, ...]:
    draw = random.Random(seed)
    return (1, *(draw.randrange(300, 600) for _ in range(count - 1)))


class Oracle:
    """`llama_cpp.Llama` fed with the same ids; softmax in float64."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self._llama = llama_cpp.Llama(str(path), n_ctx=2048, logits_all=True, verbose=True)

    def log_probability(self, prompt: tuple[int, ...], continuation: tuple[int, ...]) -> float:
        self._llama.reset()
        self._llama.eval([*prompt, *continuation])
        total = 0.0
        for place, token in enumerate(continuation, len(prompt)):
            logits = self._llama.scores[place - 1].astype(np.float64)
            total += logits[token] - np.logaddexp.reduce(logits)
        return total


@pytest.fixture(scope="module")
def oracle(models: Path) -> Oracle:
    return Oracle(models / "model.gguf")


@pytest.mark.parametrize("length", [2, 40, 255, 256, 257, 600])
@pytest.mark.parametrize(
    "labels",
    [((300,), (301,)), ((400, 301), (400, 302)), ((400, 301, 302), (400, 302), (400, 303, 304, 305)), ((5,), (5, 6))],
    ids=["one token", "shared start", "several tokens", "one begins another"],
)
def test_scores_are_the_oracles(
    engine: Engine, oracle: Oracle, length: int, labels: tuple[tuple[int, ...], ...]
) -> None:
    prompt = ids(length, length)
    (scores,) = engine.score([ScoreRequest(prompt, labels)])
    assert scores == pytest.approx([oracle.log_probability(prompt, label) for label in labels], abs=TOLERANCE)


def test_a_fork_among_the_labels_is_the_oracles(engine: Engine, oracle: Oracle) -> None:
    prompt, labels = ids(90, 4), ((300,), (301, 302), (301, 303), (304, 305, 306), (304, 307))
    (scores,) = engine.score([ScoreRequest(prompt, labels, (40, 70))])
    assert scores == pytest.approx([oracle.log_probability(prompt, label) for label in labels], abs=TOLERANCE)


def test_more_labels_than_a_batch_has_outputs(engine: Engine, oracle: Oracle) -> None:
    prompt, labels = ids(90, 4), tuple((300 + number, 301, 302) for number in range(26))
    (scores,) = engine.score([ScoreRequest(prompt, labels)])
    assert scores == pytest.approx([oracle.log_probability(prompt, label) for label in labels], abs=TOLERANCE)


def test_naming_the_shared_start_changes_nothing_but_rounding(engine: Engine) -> None:
    prompt, labels = ids(300, 3), ((400, 301), (400, 302))
    (plain,) = engine.score([ScoreRequest(prompt, labels)])
    assert engine.score([ScoreRequest(prompt, labels, (45,))])[0] == pytest.approx(plain, abs=TOLERANCE)


def requests() -> list[ScoreRequest]:
    start = ids(45, 0)
    several = ((400, 301, 302), (400, 302), (400, 303, 304, 305))
    return [
        ScoreRequest((*start, *ids(length, seed)[1:]), several if seed % 5 == 0 else ((400, 301), (400, 302)), (45,))
        for seed, length in enumerate([2, 30, 63, 200, 212, 213, 214, 256, 257, 400, 512, 513, 514, 700, 1200])
    ]


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_the_same_bits_in_any_order_on_any_number_of_threads(models: Path, name: str) -> None:
    wanted: dict[int, list[float]] = {}
    order = list(range(len(requests())))
    for threads in (1, 2, 3):
        engine = load_engine(ModelOptions(models / name, threads=threads))
        random.Random(threads).shuffle(order)
        for index in order:
            (scores,) = engine.score([requests()[index]])
            assert wanted.setdefault(index, scores) == scores
        engine.close()


@pytest.mark.parametrize("name", MODELS)
def test_scores_do_not_depend_on_the_size_of_the_context_or_on_a_chat_before(models: Path, name: str) -> None:
    from runtime.engine import Sampling

    engine = load_engine(ModelOptions(models / name, threads=1))
    wanted = engine.score(requests()[:6])
    engine.reserve(1300)
    "".join(engine.submit(ids(100, 9), Sampling(max_tokens=20, seed=1)))
    assert engine.score(requests()[:6]) == wanted
    engine.close()


def test_an_adapter_changes_scores_by_its_weight(models: Path) -> None:
    def score(weight: float) -> list[float]:
        adapters = ((models / "adapter.gguf", weight),)
        engine = load_engine(ModelOptions(models / "model.gguf", adapters=adapters, threads=1))
        (scores,) = engine.score([requests()[3]])
        engine.close()
        return scores

    engine = load_engine(ModelOptions(models / "model.gguf", threads=1))
    (plain,) = engine.score([requests()[3]])
    engine.close()
    assert score(0.0) == pytest.approx(plain, abs=TOLERANCE)
    assert score(1.0) != pytest.approx(plain, abs=0.01)
    assert score(1.0) == score(1.0) != score(0.5)


def test_what_would_end_the_process_is_refused(engine: Engine) -> None:
    with pytest.raises(ToolError, match="do not fit"):
        engine.score([ScoreRequest(ids(3000, 0), ((5,),))])
    with pytest.raises(ToolError, match="vocabulary"):
        engine.score([ScoreRequest((1, 10_000_000), ((5,),))])
    with pytest.raises(ToolError, match="vocabulary"):
        engine.score([ScoreRequest((1, -5), ((5, 6), (5, 7)))])
    with pytest.raises(ToolError, match="do not fit"):
        engine.reserve(100_000)
    assert len(engine.score([ScoreRequest(ids(20, 0), ((5,), (6,)))])[0]) == 2  # and the engine lives on


def test_a_closed_engine_says_so(models: Path) -> None:
    engine = load_engine(ModelOptions(models / "model.gguf", threads=1))
    engine.close()
    engine.close()
    with pytest.raises(ToolError, match="closed"):
        engine.score([requests()[0]])


def test_a_load_can_be_watched_and_given_up(models: Path) -> None:
    seen: list[float] = []
    load_engine(ModelOptions(models / "model.gguf"), on_progress=lambda share: seen.append(share) or True).close()
    assert seen[-1] == 1.0
    assert seen == sorted(seen)
    with pytest.raises(ToolError, match="given up"):
        load_engine(ModelOptions(models / "model.gguf"), on_progress=lambda _: False)


def test_an_interrupt_during_the_load_is_not_swallowed(models: Path) -> None:
    def interrupt(_share: float) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_engine(ModelOptions(models / "model.gguf"), on_progress=interrupt)


def test_a_context_beyond_the_models_is_refused(models: Path) -> None:
    with pytest.raises(ToolError, match="more than the model's 2048"):
        load_engine(ModelOptions(models / "model.gguf", ctx_size=4096))


def test_gpu_layers_on_a_cpu_build_name_the_remedy(models: Path) -> None:
    from runtime.llama_library import api

    if api.llama_supports_gpu_offload():
        pytest.skip("this build has a GPU")
    with pytest.raises(MachineError, match="ACCEL=cuda"):
        load_engine(ModelOptions(models / "model.gguf", gpu_layers=5))


def test_broken_weights_are_an_error_not_an_answer(models: Path, tmp_path: Path) -> None:
    from tests.runtime import make_gguf

    broken = make_gguf.model(tmp_path / "nan.gguf", models / "tokenizer.model", formats=None, scale=float("nan"))
    engine = load_engine(ModelOptions(broken, prompt_format="alpaca2", threads=1))
    with pytest.raises(ToolError, match="weights are broken"):
        engine.score([ScoreRequest(ids(20, 0), ((5,), (6,)))])
    engine.close()
