"""How quick a model is here, how much memory it takes, and what of llama.cpp's own speed `predict` reaches."""

from __future__ import annotations

import csv
import random
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from configs.exam import Question
from configs.sheets import read_questions
from runtime.answering import Asker
from runtime.batch import PredictRun, PredictSettings
from runtime.buckets import shared_passages
from runtime.engine import load_engine
from runtime.interface import Engine, ModelOptions
from runtime.llama_bench import BareLlama, Cost, built_with
from runtime.models import plan_model, question_format
from runtime.tree import tree_order

_PREFILL, _GENERATE = 512, 32
_ROOM = 128
_PASSAGES, _QUESTIONS, _SENTENCES = 3, 4, 10
_CHARACTERS = "春夏秋冬東西南北山水花草風雨雲月日星火土木金人天地大小上下左右"


@dataclass(frozen=True, slots=True)
class BareCosts:
    """What llama.cpp takes by itself."""

    walk: Cost
    """A bare llama_decode loop over the same tree of tokens as `predict`."""
    prefill: Cost
    generation: Cost
    on_gpu: bool
    """Whether layers are on a GPU, which CPU seconds say nothing about."""


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What was measured. Tokens are those evaluated, what prompts share counted once."""

    bare: BareCosts
    predict: Cost
    """The whole of `runtime predict` but for loading the model."""
    questions: int
    memory: int | None
    """Most bytes that were resident at a time; None where the system does not tell."""
    built_with: str

    @property
    def fraction(self) -> float:
        """Of the bare loop's speed that `predict` reaches: by CPU seconds, or by the clock where a GPU works."""
        if self.bare.on_gpu:
            return self.bare.walk.wall / self.predict.wall
        return self.bare.walk.cpu / self.predict.cpu

    def table(self) -> dict[str, object]:
        """For `--json`."""
        bare = self.bare
        costs = {"prefill": bare.prefill, "generation": bare.generation, "bare": bare.walk, "predict": self.predict}
        return {
            **{
                name: {
                    "tokens": cost.tokens,
                    "cpu_seconds": round(cost.cpu, 3),
                    "seconds": round(cost.wall, 3),
                    "tokens_per_second": round(cost.per_second, 1),
                    "tokens_per_cpu_second": round(cost.per_cpu_second, 1),
                }
                for name, cost in costs.items()
            },
            "questions": self.questions,
            "questions_per_second": round(self.questions / self.predict.wall, 3),
            "fraction_of_bare_loop": round(self.fraction, 3),
            "peak_resident_bytes": self.memory,
            "built_with": self.built_with,
        }

    def lines(self) -> list[str]:
        """For people."""
        memory = f"{self.memory / 1e6:.0f} MB" if self.memory else "unknown"
        return [
            f"prefill     {_speed(self.bare.prefill)} ({self.bare.prefill.tokens} tokens)",
            f"generation  {_speed(self.bare.generation)} (one token after the other)",
            f"predict     {self.questions / self.predict.wall:.2f} questions/s, {_speed(self.predict)}; "
            f"{self.fraction:.1%} of a bare llama_decode loop over the same tokens",
            f"memory      {memory} at most",
            f"llama.cpp   {self.built_with}",
        ]


def bench(options: ModelOptions) -> BenchResult:
    """Measure a model.

    Raises:
        ConfigError, MachineError, ToolError: as `load_engine`.
    """
    with tempfile.TemporaryDirectory(prefix="lora2edge-bench-") as name:
        sheet = Path(name) / "sheet.csv"
        write_sheet(sheet, example_questions(_PASSAGES, _QUESTIONS))
        predict, count = predict_cost(PredictSettings(sheet, Path(name) / "answers.csv", options))
        memory = peak_memory()
        bare = bare_costs(options, sheet)
    return BenchResult(bare, replace(predict, tokens=bare.walk.tokens), count, memory, built_with())


def bare_costs(options: ModelOptions, sheet: Path) -> BareCosts:
    """Of a model loaded for it, on the questions of a sheet."""
    plan = plan_model(options)
    labels, _ = question_format(plan.formats, options)
    rows = [row.question for row in read_questions(sheet, need_answers=False).rows if row.question]
    bare = BareLlama(plan)
    try:
        asker = Asker(plan.formats, labels, bare.model.vocabulary)
        shared = shared_passages(rows)
        asked = [asker.requests(question, shared=question.passage in shared) for question in rows]
        longest = max(request.length for requests in asked for request in requests)
        bare.open(max(longest, _PREFILL) + _ROOM)
        walked = bare.walk(request for index in tree_order(asked) for request in asked[index])
        return BareCosts(walked, bare.prefill(_PREFILL), bare.generate(_GENERATE), bare.model.gpu_layers != 0)
    finally:
        bare.close()


def predict_cost(settings: PredictSettings) -> tuple[Cost, int]:
    """(cost of `predict` without loading the model, its tokens not counted; questions computed)."""
    loading = [0.0, 0.0]

    def load(options: ModelOptions) -> Engine:
        cpu, wall = time.process_time(), time.perf_counter()
        engine = load_engine(options)
        loading[:] = time.process_time() - cpu, time.perf_counter() - wall
        return engine

    cpu, wall = time.process_time(), time.perf_counter()
    run = PredictRun(settings, load)
    for _ in run:
        pass
    assert run.summary is not None
    cost = Cost(0, time.process_time() - cpu - loading[0], time.perf_counter() - wall - loading[1])
    return cost, run.summary.computed


def example_questions(passages: int, questions: int) -> list[Question]:
    """Questions of four options on made-up passages, always the same."""
    draw = random.Random(0)  # noqa: S311  a sample text needs no secrecy

    def word() -> str:
        return "".join(draw.choices(_CHARACTERS, k=2))

    found = []
    for number in range(passages):
        passage = "".join(
            f"第{number + 1}篇{word()}{word()}在{word()}，{word()}也{word()}。" for _ in range(_SENTENCES)
        )
        found += [
            Question(passage, f"{word()}在{word()}{word()}什麼？", tuple(word() + word() for _ in range(4)))
            for _ in range(questions)
        ]
    return found


def write_sheet(path: Path, questions: Sequence[Question]) -> None:
    """A csv that `predict` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["題號", "文章", "問題", "選項1", "選項2", "選項3", "選項4"])
        writer.writerows(
            [number, question.passage, question.question, *question.choices]
            for number, question in enumerate(questions, 1)
        )


def peak_memory() -> int | None:
    """Most bytes of this process that were resident at a time; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else None


def _speed(cost: Cost) -> str:
    return f"{cost.per_second:.1f} tokens/s ({cost.per_cpu_second:.1f} per CPU second)"
