"""Which task a file of answers is about, and its grades in one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from configs.calibration import Probabilities, measure
from configs.errors import ConfigError
from configs.instructions import parse_roles
from configs.records import JSON
from configs.sheets import parse_columns
from runtime.evaluation.answers import read_answers
from runtime.evaluation.entities import EntityScores, holds_entities, score_entities
from runtime.evaluation.exam import Evaluation, grade, read_gold
from runtime.evaluation.exam_json import table
from runtime.evaluation.exam_sections import NO_ANSWER, sections
from runtime.evaluation.generated import Pairing, pair
from runtime.evaluation.sections import Section
from runtime.evaluation.texts import score_texts
from runtime.paired import Comparison, compare

Task = Literal["exam", "entities", "text"]


@dataclass(frozen=True, slots=True)
class Request:
    """What to grade, against what."""

    answers: Path
    sheet: Path
    task: Task | None = None
    """None: told by the files."""
    against: Path | None = None
    by: str | None = None
    sheet_columns: str = ""
    encoding: str = ""
    """Of the sheet; empty finds it out."""
    labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Grades:
    """The result of any task."""

    table: dict[str, Any]
    sections: list[Section]
    plots: Callable[[], dict[str, bytes]] | None = None
    """Draws the plots; None where the task has none."""
    notes: tuple[str, ...] = ()
    """How the sheet was read."""
    fault: str = ""
    """Why the answers cannot be fully graded; empty if they can."""


def grades(request: Request) -> Grades:
    """Grade.

    Raises:
        ConfigError: a file cannot be read, or a setting does not belong to its task.
    """
    written = request.answers.suffix.lower() in JSON
    if not written if request.task is None else request.task == "exam":
        return _exam(request)
    if request.against or request.by is not None or request.labels:
        raise ConfigError("--against, --by and --question-format belong to exams", hint="leave them out")
    pairing = pair(request.answers, request.sheet, parse_roles(request.sheet_columns), request.encoding)
    records = [record for record, _ in pairing.rows]
    if request.task == "entities" or (request.task is None and holds_entities(records)):
        if not holds_entities(records):
            raise ConfigError(f"{request.sheet} does not list entities", hint="lines of entity_type, or entity_list")
        return _entities(pairing)
    return _text(pairing, request.sheet)


def _exam(request: Request) -> Grades:
    gold, column = read_gold(request.sheet, parse_columns(request.sheet_columns), request.by, request.encoding)
    evaluation = grade(gold, read_answers(request.answers), labels=request.labels, group_column=column)
    unnamed = len(evaluation.unnamed)
    comparison = None
    if request.against:
        other = grade(gold, read_answers(request.against), labels=request.labels)
        comparison = _compared(evaluation, other)
        unnamed += len(other.unnamed)
    probabilities = measure(evaluation.forecasts)
    return Grades(
        table={"task": "exam", **table(evaluation, probabilities, comparison)},
        sections=sections(evaluation, probabilities, comparison),
        plots=lambda: _plots(evaluation, probabilities),
        notes=gold.notes,
        fault=f"{unnamed} answers name no option and count as wrong: is --question-format missing?" if unnamed else "",
    )


def _plots(evaluation: Evaluation, probabilities: Probabilities | None) -> dict[str, bytes]:
    from runtime.evaluation.plots import plots

    return plots(evaluation, probabilities.calibration if probabilities else None)


def _compared(first: Evaluation, second: Evaluation) -> Comparison:
    pairs = zip(first.graded, second.graded, strict=True)
    return compare([(one.id, one.gold, one.place, other.place) for one, other in pairs])


def _entities(pairing: Pairing) -> Grades:
    scores = score_entities(pairing.rows)
    table: dict[str, Any] = {
        "task": "entities",
        **pairing.table(),
        "precision": scores.micro.precision,
        "recall": scores.micro.recall,
        "f1": scores.micro.f1,
        "macro_f1": scores.macro_f1,
        "exact": scores.exact,
        "unreadable_replies": scores.unreadable,
        "not_in_text": scores.not_in_text,
        "types": {
            name: {
                "precision": one.precision, "recall": one.recall, "f1": one.f1,
                "correct": one.correct, "spurious": one.spurious, "missed": one.missed,
            }
            for name, one in scores.by_type.items()
        },
    }  # fmt: skip
    return Grades(table, [_entity_section(scores, pairing)], notes=pairing.notes)


def _entity_section(scores: EntityScores, pairing: Pairing) -> Section:
    rows = [
        (name, *map(_percent, (one.precision, one.recall, one.f1)), *map(str, (one.correct, one.spurious, one.missed)))
        for name, one in [*scores.by_type.items(), ("micro", scores.micro)]
    ]
    notes = [
        f"macro F1 {_percent(scores.macro_f1)}; {scores.exact} of {scores.rows} texts wholly right",
        f"{scores.unreadable} replies hold a line that is no entity_type; "
        f"{scores.not_in_text} named entities do not occur in the text",
        *pairing.complaints(),
    ]
    header = ("type", "precision", "recall", "F1", "right", "spurious", "missed")
    return Section(f"entities: F1 {_percent(scores.micro.f1)}", tuple(notes), header, tuple(rows))


def _text(pairing: Pairing, sheet: Path) -> Grades:
    rows = [(record.references, reply) for record, reply in pairing.rows if record.references]
    if not rows:
        raise ConfigError(f"{sheet} holds no known replies", hint="it needs output, answer or an assistant's message")
    scores = score_texts(rows)
    low, high = scores.exact.interval
    section = Section(
        f"exact match {_percent(scores.exact.share)}, character F1 {_percent(scores.f1)}",
        (
            f"{scores.exact.correct} of {scores.exact.total} replies match; 95 % interval {low:.1%} to {high:.1%}",
            *pairing.complaints(),
        ),
    )
    table = {
        "task": "text",
        **pairing.table(),
        "labelled": scores.exact.total,
        "exact_match": scores.exact.share,
        "interval": list(scores.exact.interval),
        "character_f1": scores.f1,
    }
    return Grades(table, [section], notes=pairing.notes)


def _percent(share: float | None) -> str:
    return NO_ANSWER if share is None else f"{share:.1%}"
