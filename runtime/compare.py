"""Two models on one sheet: each answers it by itself, and then their answers are laid beside each other.

The models need not be in memory together: a side is scored with whatever engine it is given, and keeps its results.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.accuracy import Accuracy
from configs.exam import QuestionFormat
from configs.formats import Formats
from configs.sheets import SheetRow
from runtime.answering import Asker
from runtime.buckets import bucket_count, in_buckets
from runtime.debias import plan_orders
from runtime.gguf_header import GgufHeader
from runtime.interface import Engine, ModelOptions
from runtime.models import ModelPlan, plan_model, question_format
from runtime.paired import Comparison, compare
from runtime.report import AnsweredRow
from runtime.results import Result
from runtime.rows import Questions
from runtime.scoring import EngineScorer

_ROOM = 1.2
"""What a model takes in memory besides its file: cache and buffers of a usual context."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One of the models, checked but not loaded."""

    plan: ModelPlan
    labels: QuestionFormat | None
    """How it is asked a question; None where no exam question is to be asked."""
    notes: tuple[str, ...]


def contenders(options: Sequence[ModelOptions], *, exam: bool) -> list[Contender]:
    """Check the files and choose the formats of the models that are to be compared.

    Raises:
        ConfigError: a file is missing or not what it should be, or a format is not known.
        ToolError: a file is damaged.
    """
    found = []
    for one in options:
        plan = plan_model(one)
        labels, note = question_format(plan.formats, one) if exam else (None, "")
        found.append(Contender(plan, labels, (*plan.notes, *([note] if note else []))))
    return found


def differences(first: ModelPlan, second: ModelPlan, *, exam: bool) -> tuple[str, ...]:
    """What a person should know who compares the two: what they do not have in common besides their weights."""
    notes = []
    names = (first.options.model.name, second.options.model.name)
    words = [_vocabulary(plan.header) for plan in (first, second)]
    if words[0] != words[1]:
        sizes = " and ".join(f"{size:,}" for _, size in words)
        what = f"{sizes} tokens" if words[0][1] != words[1][1] else f"{words[0][0]} and {words[1][0]}"
        notes.append(f"the vocabularies are not the same ({what}): a token of one is not a token of the other")
    for kind in ("prompt", "question") if exam else ("prompt",):
        formats = [getattr(plan.formats, kind) for plan in (first, second)]
        if formats[0] != formats[1]:
            called = [one.name if one else "none" for one in formats]
            said = f"{names[0]}: {called[0]}, {names[1]}: {called[1]}"
            notes.append(f"each is asked in its own {kind} format ({said}); --{kind}-format sets one for both")
    return tuple(notes)


def fit_together(options: Sequence[ModelOptions]) -> bool:
    """Whether all the models fit the memory that is free now; False where nobody can say."""
    files = {path for one in options for path in (one.model, *(path for path, _ in one.adapters))}
    return sum(path.stat().st_size for path in files) * _ROOM < free_memory_bytes()


def free_memory_bytes() -> int:
    """Memory that programs can have without anything being swapped out; 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0


class SheetSide:
    """One model's way through a sheet."""

    def __init__(self, rows: Sequence[SheetRow], formats: Formats, labels: QuestionFormat) -> None:
        self.labels = labels
        self.results: dict[str, Result] = {}
        """Key of a question -> what was computed for it."""
        self.seconds = 0.0
        """Spent scoring."""
        self._questions = Questions(rows, labels, {})
        self._formats = Formats(formats.prompt, labels)

    @property
    def total(self) -> int:
        """Different questions that can be asked."""
        return len(self._questions.unique)

    @property
    def questions_per_second(self) -> float:
        """0 when nothing was timed."""
        return len(self.results) / self.seconds if self.seconds else 0.0

    def score(self, engine: Engine) -> Iterator[dict[int, AnsweredRow]]:
        """Answer what is not answered yet, with the bits that `runtime predict` gets.

        Yields:
            for every question, the rows that ask it, by their place in the sheet counted from 0.

        Raises:
            ToolError: the engine is at its end.
        """
        questions = self._questions
        buckets = in_buckets(questions.unique, bucket_count(self.total))
        asker = Asker(self._formats, self.labels, engine.tokenizer)
        scorer = EngineScorer(engine, asker, plan_orders(questions.unique, "none"))
        begun, before = time.monotonic(), self.seconds
        for key, result in scorer.score(buckets, self.results):
            self.results[key] = result
            self.seconds = before + time.monotonic() - begun
            yield {place: questions.answered_row(place, result) for place in questions.places[key]}
        questions.errors |= scorer.too_long
        questions.failed |= scorer.failed

    def answers(self) -> list[AnsweredRow]:
        """Every row of the sheet, with its answer where there is one by now, else why there is none."""
        return self._questions.answered(self.results)


@dataclass(frozen=True, slots=True)
class PairedRow:
    """A row of the sheet and what each model made of it."""

    row: SheetRow
    first: AnsweredRow
    second: AnsweredRow

    @property
    def gold(self) -> int | None:
        """Place of the right option; None where it is not known."""
        return self.row.question.answer if self.row.question else None

    @property
    def places(self) -> tuple[int | None, int | None]:
        """The options that were chosen, counted from 1."""
        first, second = (side.answer.place if side.answer else None for side in (self.first, self.second))
        return first, second

    @property
    def complete(self) -> bool:
        """Whether both have answered."""
        return None not in self.places

    @property
    def differs(self) -> bool:
        """Whether both have answered, and not the same."""
        return self.complete and self.places[0] != self.places[1]

    @property
    def distance(self) -> float | None:
        """How far the probabilities of the options are apart, 0..1: total variation. None without two answers."""
        if self.first.answer is None or self.second.answer is None:
            return None
        pairs = zip(self.first.answer.probabilities, self.second.answer.probabilities, strict=True)
        return math.fsum(abs(one - other) for one, other in pairs) / 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """The two models on all rows that both have answered."""

    rows: int
    """Of the sheet."""
    both: int
    """Rows that both have answered."""
    differing: int
    distance: float
    """Mean total variation distance of the options' probabilities."""
    accuracies: tuple[Accuracy, Accuracy]
    """Of the labelled rows that both have answered."""
    paired: Comparison

    @property
    def agreement(self) -> float | None:
        """Share of equal answers; None where there is nothing to compare."""
        return 1 - self.differing / self.both if self.both else None


def pair_up(first: Sequence[AnsweredRow], second: Sequence[AnsweredRow]) -> list[PairedRow]:
    """Lay two models' answers to one sheet beside each other."""
    return [PairedRow(one.row, one, other) for one, other in zip(first, second, strict=True)]


def verdict(rows: Sequence[PairedRow]) -> Verdict:
    """What the answers say of the models."""
    both = [row for row in rows if row.complete]
    labelled = [(row.row.id, row.gold, *row.places) for row in both if row.gold is not None]
    right = [sum(row[side] == row[1] for row in labelled) for side in (2, 3)]
    return Verdict(
        rows=len(rows),
        both=len(both),
        differing=sum(row.differs for row in both),
        distance=math.fsum(row.distance or 0.0 for row in both) / len(both) if both else 0.0,
        accuracies=(Accuracy(right[0], len(labelled)), Accuracy(right[1], len(labelled))),
        paired=compare(labelled),
    )


def _vocabulary(header: GgufHeader) -> tuple[str, int]:
    """Kind and size of a model's vocabulary (the tokens themselves are not read from the header)."""
    kind = "/".join(str(header.metadata.get(f"tokenizer.ggml.{key}", "")) for key in ("model", "pre"))
    embeddings = header.tensors.get("token_embd.weight", ())
    return kind.strip("/"), embeddings[-1] if embeddings else 0
