"""What two models have answered of a sheet so far, and which rows a filter shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from enum import IntEnum

from configs.sheets import SheetRow
from runtime.compare import PairedRow, Verdict, verdict
from runtime.report import AnsweredRow, as_text_cell


class Filter(IntEnum):
    """Which rows to show; the names of the filters are in this order."""

    ALL = 0
    DIFFERENT = 1
    ONLY_FIRST = 2
    ONLY_SECOND = 3
    BOTH_WRONG = 4
    UNANSWERED = 5


class Ledger:
    """The rows of the sheet, each with two answers or none."""

    def __init__(self, rows: Sequence[SheetRow]) -> None:
        self.pairs = [PairedRow(row, AnsweredRow(row, None), AnsweredRow(row, None)) for row in rows]

    def put(self, side: int, rows: Mapping[int, AnsweredRow]) -> None:
        """Take answers, by place in the sheet counted from 0."""
        for index, answered in rows.items():
            pair = self.pairs[index]
            first, second = (answered, pair.second) if side == 0 else (pair.first, answered)
            self.pairs[index] = PairedRow(pair.row, first, second)

    def verdict(self) -> Verdict:
        """What the answers say of the models."""
        return verdict(self.pairs)

    def chosen(self, which: Filter) -> list[int]:
        """Places of the rows that a filter shows."""
        return [index for index, pair in enumerate(self.pairs) if _shows(which, pair)]

    def counts(self) -> list[int]:
        """How many rows each filter shows."""
        return [sum(_shows(which, pair) for pair in self.pairs) for which in Filter]

    def as_csv(self, labels: tuple[str, str], names: Sequence[Sequence[str]]) -> bytes:
        """Every row for a spreadsheet: UTF-8 with BOM, CRLF.

        Args:
            labels: what the models are called.
            names: the labels of the options, as each model calls them.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
        sides = [f"{letter} ({label})" for letter, label in zip("AB", labels, strict=True)]
        columns = [f"{what} {side}" for side in sides for what in ("Answer", "Chosen", "P")]
        writer.writerow(["ID", "Question", "Gold", *columns, "Differ", "Distance", "Status"])
        writer.writerows(_csv_row(pair, names) for pair in self.pairs)
        return text.getvalue().encode("utf-8-sig")


def _shows(which: Filter, pair: PairedRow) -> bool:
    if which is Filter.ALL:
        return True
    if which is Filter.UNANSWERED:
        return bool(pair.first.error or pair.second.error)
    if which is Filter.DIFFERENT:
        return pair.differs
    if pair.gold is None or not pair.complete:
        return False
    first, second = (place == pair.gold for place in pair.places)
    wanted = {Filter.ONLY_FIRST: (True, False), Filter.ONLY_SECOND: (False, True), Filter.BOTH_WRONG: (False, False)}
    return (first, second) == wanted[which]


def _csv_row(pair: PairedRow, names: Sequence[Sequence[str]]) -> list[str]:
    question = pair.row.question
    cells = [as_text_cell(pair.row.id), as_text_cell(question.question if question else "")]
    cells.append(names[0][pair.gold - 1] if pair.gold and pair.gold <= len(names[0]) else "")
    for side, labels in zip((pair.first, pair.second), names, strict=True):
        answer = side.answer
        if answer is None or question is None:
            cells += ["", "", ""]
        else:
            share = answer.probabilities[answer.place - 1]
            cells += [labels[answer.place - 1], as_text_cell(question.choices[answer.place - 1]), f"{share:.6f}"]
    cells.append("yes" if pair.differs else "no" if pair.complete else "")
    cells.append("" if pair.distance is None else f"{pair.distance:.6f}")
    errors = [f"{letter}: {side.error}" for letter, side in zip("AB", (pair.first, pair.second)) if side.error]
    return [*cells, as_text_cell("; ".join(errors) or "ok")]
