"""What the engine promises, with the layers on a GPU."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.answering import Asker
from runtime.batch import PredictRun, PredictSettings
from runtime.engine import Engine, ModelOptions, Sampling, ScoreRequest, load_engine
from tests import tiny

pytestmark = pytest.mark.gpu

NEAR = {"model.gguf": 0.02, "q4_0.gguf": 0.25}
"""Nats between processor and GPU; q4_0's activations are rounded to 8 bits on both, in other places."""

ROOT = Path(__file__).resolve().parents[2]
MAKE_MODELS = """
import sys
from pathlib import Path
from configs.formats import Formats
from tests import tiny
from tests.runtime import make_gguf
folder, formats = Path(sys.argv[1]), Formats.load("alpaca2", "formosa")
vocabulary = tiny.tokenizer(folder)
make_gguf.model(folder / "model.gguf", vocabulary, formats=formats)
make_gguf.model(folder / "q4_0.gguf", vocabulary, formats=formats, q4_0=True)
make_gguf.model(folder / "long.gguf", vocabulary, context=32_768, q4_0=True)
"""
ON_PROCESSOR = """
import json, sys
from pathlib import Path
from runtime.engine import ModelOptions, load_engine
from tests.runtime.test_gpu import asked
engine = load_engine(ModelOptions(Path(sys.argv[1]), threads=1))
print(json.dumps([engine.score(requests)[0] for requests in asked(engine, int(sys.argv[2]))]))
engine.close()
"""


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    llama_devices = pytest.importorskip("runtime.llama_devices")
    if not llama_devices.gpus():
        pytest.skip("llama.cpp sees no GPU")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: tokenizer.model, model.gguf (f32), q4_0.gguf. Made in a process of its own: C++ libraries of other
    makers (SentencePiece, torch) and a llama.cpp that was compiled here need not agree in one."""
    folder = tmp_path_factory.mktemp("gguf")
    subprocess.run([sys.executable, "-c", MAKE_MODELS, str(folder)], cwd=ROOT, capture_output=True, check=True)
    return folder


@pytest.fixture(scope="module", params=sorted(NEAR))
def path(models: Path, request: pytest.FixtureRequest) -> Path:
    return models / str(request.param)


@pytest.fixture(scope="module")
def on_gpu(path: Path) -> Iterator[Engine]:
    engine = load_engine(ModelOptions(path, threads=1))
    yield engine
    engine.close()


def asked(engine: Engine, count: int) -> list[tuple[ScoreRequest, ...]]:
    assert engine.formats.question is not None
    asker = Asker(engine.formats, engine.formats.question, engine.tokenizer)
    return [asker.requests(question, shared=True) for question in tiny.questions(count, seed=9)]


def on_processor(path: Path, count: int) -> list[list[float]]:
    """The scores of `asked` from a process that sees no GPU: with no layers there, large products still go to one."""
    done = subprocess.run(
        [sys.executable, "-c", ON_PROCESSOR, str(path), str(count)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: list[list[float]] = json.loads(done.stdout)
    return found


def test_auto_takes_every_layer_and_says_so(on_gpu: Engine) -> None:
    assert any("3 of 3 layers" in note for note in on_gpu.notes)
    assert on_gpu.pack_tokens > 0


def test_scores_are_near_those_of_the_processor(path: Path, on_gpu: Engine) -> None:
    for requests, wanted in zip(asked(on_gpu, 40), on_processor(path, 40), strict=True):
        (scores,) = on_gpu.score(requests)
        assert scores == pytest.approx(wanted, abs=NEAR[path.name])


def test_a_pack_has_the_same_bits_whatever_came_before(path: Path, on_gpu: Engine) -> None:
    packs = [[request for requests in asked(on_gpu, 8)[at : at + 3] for request in requests] for at in range(5)]
    wanted = [on_gpu.score(pack) for pack in packs]
    again = load_engine(ModelOptions(path, threads=1))
    for index in (3, 0, 4, 1, 2, 3):
        assert again.score(packs[index]) == wanted[index]
    again.close()


def test_a_run_that_was_cut_off_ends_with_the_bytes_of_one_that_was_not(path: Path, tmp_path: Path) -> None:
    sheet = tiny.sheet(tmp_path / "s.xlsx", tiny.questions(60))

    def settings(name: str) -> PredictSettings:
        return PredictSettings(sheet, tmp_path / name, ModelOptions(path, threads=1), columns="full")

    for _ in PredictRun(settings("whole.csv")):
        pass
    events = iter(PredictRun(settings("cut.csv")))
    while next(events).done < 25:
        pass
    events.close()
    for _ in PredictRun(settings("cut.csv")):
        pass
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_cancelled_prompt_ends_soon_and_the_next_reply_comes(models: Path) -> None:
    engine = load_engine(ModelOptions(models / "long.gguf", threads=1, prompt_format="alpaca2", ctx_size=32_768))
    draw = random.Random(0)
    stream = engine.submit([1, *(draw.randrange(300, 600) for _ in range(30_000))], Sampling(seed=1))
    time.sleep(0.01)
    stream.cancel()
    assert list(stream) == []
    assert stream.finish == "cancelled"
    other = engine.submit([1, 300, 301], Sampling(seed=1, max_tokens=4))
    list(other)
    assert other.tokens > 0
    engine.close()
