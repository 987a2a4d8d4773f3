"""The rows of a sheet and what became of each: counted, filtered, sorted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntFlag
from typing import TYPE_CHECKING

from configs.accuracy import Accuracy

if TYPE_CHECKING:
    from runtime.report import AnsweredRow

UNSURE_BELOW = 0.5
UNSURE_MARGIN = 0.1


class Facts(IntFlag):
    """What is true of a row; as a filter, `ALL` asks for nothing."""

    ALL = 0
    WRONG = 1
    UNSURE = 2
    DONE = 4
    BAD = 8
    RIGHT = 16


FILTERS = (Facts.ALL, Facts.WRONG, Facts.UNSURE, Facts.DONE, Facts.BAD)


class Board:
    """Every row of the sheet, by its place, counted from 0."""

    def __init__(self, rows: Sequence[AnsweredRow], labels: Sequence[str]) -> None:
        self.labels = labels
        self.rows: list[AnsweredRow] = list(rows)
        self.has_key = any(row.row.question and row.row.question.answer for row in rows)
        """Whether any row has a label."""
        self._facts = [int(facts(row)) for row in self.rows]  # flags of ten thousand rows are too slow as objects
        self._counts = {kind: sum(bool(found & kind) for found in self._facts) for kind in Facts if kind}
        self._looked_for = ""
        self._found: frozenset[int] = frozenset()

    def put(self, news: Iterable[tuple[int, AnsweredRow]]) -> set[int]:
        """Take in what has become of some rows; returns their places."""
        changed = set()
        for place, row in news:
            before, after = Facts(self._facts[place]), facts(row)
            self.rows[place], self._facts[place] = row, int(after)
            for kind in before ^ after:
                self._counts[kind] += 1 if kind in after else -1
            changed.add(place)
        return changed

    def count(self, kind: Facts) -> int:
        """How many rows a filter lets through, whatever is looked for."""
        return self._counts[kind] if kind else len(self.rows)

    def facts(self, place: int) -> Facts:
        """What is true of a row."""
        return Facts(self._facts[place])

    @property
    def warned(self) -> int:
        """How many rows there is something to say of."""
        return sum(bool(row.row.warnings) for row in self.rows if not row.error)

    @property
    def accuracy(self) -> Accuracy:
        """Of the rows that are answered and have a label."""
        right, wrong = self._counts[Facts.RIGHT], self._counts[Facts.WRONG]
        return Accuracy(right, right + wrong)

    def places(self, kind: Facts, *, find: str = "", doubtful_first: bool = False) -> list[int]:
        """The rows that a filter lets through and that hold a text, in the order of the sheet or of the margin."""
        found = range(len(self.rows)) if not find else sorted(self._holding(find))
        wanted = int(kind)
        places = [place for place in found if self._facts[place] & wanted == wanted]
        if doubtful_first:
            places.sort(key=self._margin)
        return places

    def label(self, place: int | None) -> str:
        """What an option, counted from 1, is called; empty for none."""
        return self.labels[place - 1] if place and place <= len(self.labels) else ""

    def _margin(self, place: int) -> float:
        answer = self.rows[place].answer
        return answer.margin if answer else 2.0

    def _holding(self, text: str) -> frozenset[int]:
        """What is in a row does not change, so a text is looked for once."""
        if text != self._looked_for:
            wanted = text.casefold()
            self._looked_for = text
            self._found = frozenset(place for place, row in enumerate(self.rows) if _holds(row, wanted))
        return self._found


def facts(row: AnsweredRow) -> Facts:
    """What is true of a row."""
    if row.error:
        return Facts.BAD
    if row.answer is None:
        return Facts.ALL
    found = Facts.DONE
    answer, key = row.answer, row.row.question.answer if row.row.question else None
    if key:
        found |= Facts.RIGHT if answer.place == key else Facts.WRONG
    if answer.probabilities[answer.place - 1] < UNSURE_BELOW or answer.margin < UNSURE_MARGIN or answer.warnings:
        found |= Facts.UNSURE
    return found


def _holds(row: AnsweredRow, wanted: str) -> bool:
    question = row.row.question
    if wanted in row.row.id.casefold():
        return True
    return question is not None and any(
        wanted in text.casefold() for text in (question.question, question.passage, *question.choices)
    )
