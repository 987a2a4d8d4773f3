"""Grading a CSV of answers against a sheet with labels."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.exam import parse_label
from configs.records import cell_text, read_table
from configs.sheets import SheetRow, read_questions
from runtime.arguments import COLUMNS_FLAG
from runtime.metrics import Accuracy, confusion
from runtime.report import from_text_cell

NO_ANSWER = "-"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the answers are worth. Rows of the sheet that have no answer in the CSV count as wrong."""

    accuracy: Accuracy
    answers: int
    """Rows of the CSV."""
    questions: int
    """Rows of the sheet."""
    confusion: Counter[tuple[int, int | None]]
    """(gold place, answered place) -> rows; None is no answer, or one that names no option."""
    missing: tuple[str, ...]
    """IDs of the sheet without a row in the CSV."""
    extra: tuple[str, ...]
    """IDs of the CSV that the sheet has not, or not that often."""
    without_label: tuple[str, ...]
    """IDs of the sheet whose label cannot be read; left out of the accuracy."""
    unnamed: tuple[str, ...]
    """IDs whose answer names no option; they count as wrong."""

    def table(self) -> dict[str, Any]:
        """As JSON would have it."""
        places = self._places()
        return {
            "questions": self.questions,
            "answers": self.answers,
            "labelled": self.accuracy.total,
            "correct": self.accuracy.correct,
            "accuracy": self.accuracy.share,
            "interval": list(self.accuracy.interval) if self.accuracy.total else None,
            "labels": {str(place): self._counts_of(place) for place in places if place is not None},
            "confusion": {
                str(gold): {str(place or NO_ANSWER): self.confusion[gold, place] for place in places}
                for gold in places
                if gold is not None
            },
            "missing": list(self.missing),
            "extra": list(self.extra),
            "without_label": list(self.without_label),
            "unnamed": list(self.unnamed),
        }

    def lines(self) -> list[str]:
        """As a person would read it."""
        places = self._places()
        golds = [place for place in places if place is not None]
        header = "gold \\ answer " + "".join(f"{place or NO_ANSWER:>7}" for place in places) + "   right"
        body = []
        for gold in golds:
            counts = self._counts_of(gold)
            right = f"{counts['correct'] / counts['gold']:8.1%}" if counts["gold"] else f"{NO_ANSWER:>8}"
            body.append(f"{gold:<14}" + "".join(f"{self.confusion[gold, place]:7}" for place in places) + right)
        return [self.accuracy.sentence(), "", header, *body, *self._complaints()]

    def _places(self) -> list[int | None]:
        found = {place for pair in self.confusion for place in pair if place is not None}
        return [*range(1, max(found, default=0) + 1), None]

    def _counts_of(self, place: int) -> dict[str, int]:
        return {
            "gold": sum(count for (gold, _), count in self.confusion.items() if gold == place),
            "answered": sum(count for (_, answer), count in self.confusion.items() if answer == place),
            "correct": self.confusion[place, place],
        }

    def _complaints(self) -> list[str]:
        lines = []
        if self.answers != self.questions:
            lines.append(f"the CSV has {self.answers} rows, the sheet {self.questions}")
        for ids, what in (
            (self.missing, "rows of the sheet have no answer in the CSV"),
            (self.extra, "rows of the CSV are not in the sheet"),
            (self.without_label, "rows of the sheet have no readable label"),
            (self.unnamed, "answers name no option (other labels than 1, 2, … or A, B, …: --question-format)"),
        ):
            if ids:
                lines.append(f"{len(ids)} {what}: {', '.join(ids[:10])}{', …' if len(ids) > 10 else ''}")
        return ["", *lines] if lines else []


def evaluate(
    answers: Path, sheet: Path, columns: dict[str, str] | None = None, labels: Sequence[str] = ()
) -> Evaluation:
    """Grade a CSV that `predict` wrote, or any with the columns ID and Answer.

    IDs may repeat: the n-th row of an ID in the CSV answers the n-th row of that ID in the sheet.

    Args:
        labels: the labels that the CSV holds; without them those that a full CSV's header tells, else 1, 2, … and
            A, B, … name options.

    Raises:
        ConfigError: a file cannot be read, or the CSV lacks its columns.
    """
    rows = read_questions(sheet, columns=columns, need_answers=True, columns_flag=COLUMNS_FLAG).rows
    written, told = _read_answers(answers)
    labels = tuple(labels) or told
    waiting: dict[str, deque[str]] = defaultdict(deque)
    for identity, written_cell in written:
        waiting[identity].append(written_cell)
    missing: list[str] = []
    without_label: list[str] = []
    unnamed: list[str] = []
    pairs: list[tuple[int, int | None]] = []
    for row in rows:
        cell = waiting[row.id].popleft() if waiting[row.id] else None
        if cell is None:
            missing.append(row.id)
        if row.question is None or row.question.answer is None:
            without_label.append(row.id)
        else:
            place = _place(cell, row, labels)
            pairs.append((row.question.answer, place))
            unnamed += [row.id] if cell and place is None else []
    return Evaluation(
        accuracy=Accuracy(sum(gold == place for gold, place in pairs), len(pairs)),
        answers=len(written),
        questions=len(rows),
        confusion=confusion(pairs),
        missing=tuple(missing),
        extra=tuple(identity for identity, cells in waiting.items() for _ in cells),
        without_label=tuple(without_label),
        unnamed=tuple(unnamed),
    )


def _read_answers(path: Path) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """(ID, answer) of every row, and the labels if the CSV is a full one: its columns P(1), P(2), … name them."""
    table = read_table(path)
    found = {column.strip().lower(): column for column in table.columns}
    if "id" not in found or "answer" not in found:
        raise ConfigError(f"{path} has the columns {', '.join(table.columns)}", hint="it needs ID and Answer")
    cells = [(cell_text(row[found["id"]]).strip(), cell_text(row[found["answer"]]).strip()) for row in table.rows]
    labels = tuple(column[2:-1] for column in table.columns if column.startswith("P(") and column.endswith(")"))
    return [(from_text_cell(identity), answer) for identity, answer in cells], labels


def _place(cell: str | None, row: SheetRow, labels: Sequence[str]) -> int | None:
    """The option a cell of the CSV names."""
    assert row.question is not None
    if labels:
        return labels.index(cell) + 1 if cell in labels else None
    try:
        return parse_label(cell, len(row.question.choices))[0] if cell else None
    except ValueError:
        return None
