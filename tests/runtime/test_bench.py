"""`runtime bench` measures and says what it measured; no figure is checked for speed."""

from __future__ import annotations

import json
from pathlib import Path

from runtime.bench import BareCosts, BenchResult, example_questions
from runtime.engine import ModelOptions
from runtime.interface import ScoreRequest
from runtime.llama_bench import BareLlama, Cost
from runtime.models import plan_model
from tests import tiny


def test_every_figure_is_there(models: Path) -> None:
    code, out, _ = tiny.run_cli("runtime.cli", "bench", "--model", models / "q4_0.gguf", "--threads", 1, "--json")
    assert code == 0
    table = json.loads(out)
    for name in ("prefill", "generation", "bare", "predict"):
        assert table[name]["tokens"] > 0
        assert table[name]["tokens_per_second"] > 0
    assert table["predict"]["tokens"] == table["bare"]["tokens"]
    assert table["questions"] == 12
    assert table["fraction_of_bare_loop"] > 0
    assert table["peak_resident_bytes"] > 10_000_000
    assert "CPU" in table["built_with"]


def test_people_get_lines(models: Path) -> None:
    code, out, _ = tiny.run_cli("runtime.cli", "bench", "--model", models / "q4_0.gguf", "--threads", 1)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "prefill", "generation", "predict", "memory", "llama.cpp",
    ]  # fmt: skip


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, _, err = tiny.run_cli("runtime.cli", "bench", "--model", tmp_path / "none.gguf")
    assert code == 2
    assert "none.gguf" in err


def test_the_bare_loop_evaluates_what_prompts_share_once(models: Path) -> None:
    bare = BareLlama(plan_model(ModelOptions(models / "q4_0.gguf", threads=1)))
    bare.open(256)
    start, labels = tuple(range(300, 340)), ((5,), (6, 7))  # one inner token: 6
    requests = [ScoreRequest((*start, *range(400, 420 + more)), labels, (40,)) for more in range(3)]
    assert bare.walk(requests).tokens == 40 + (20 + 1) + (21 + 1) + (22 + 1)
    bare.close()


def test_the_sample_questions_are_always_the_same() -> None:
    assert example_questions(2, 4) == example_questions(2, 4)
    assert len({question.passage for question in example_questions(2, 4)}) == 2


def test_a_gpu_is_measured_by_the_clock() -> None:
    walk, predict = Cost(100, cpu=1.0, wall=8.0), Cost(100, cpu=4.0, wall=10.0)
    for on_gpu, fraction in ((True, 0.8), (False, 0.25)):
        bare = BareCosts(walk, walk, walk, on_gpu)
        assert BenchResult(bare, predict, 4, None, "CPU").fraction == fraction
