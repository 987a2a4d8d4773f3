"""Answers -> the two CSVs: Kaggle's, byte for byte, and the full one for people."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.sheets import SheetRow
from runtime.answering import Answer

Columns = Literal["kaggle", "full"]

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[\d.,]+%?")
_KAGGLE_ID = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class AnsweredRow:
    """A row of the sheet and what became of it."""

    row: SheetRow
    answer: Answer | None
    error: str = ""
    """Why there is no answer."""
    remarks: tuple[str, ...] = ()
    """What there is to say of how the question was put."""

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.row.warnings, *self.remarks, *(self.answer.warnings if self.answer else ()))


def csv_bytes(rows: Sequence[AnsweredRow], columns: Columns, labels: QuestionFormat, fallback: str = "") -> bytes:
    """The whole CSV. `fallback` stands where there is no answer."""
    if columns == "kaggle":
        lines = ["ID,Answer", *(f"{row.row.id},{_written(row, labels, fallback)}" for row in rows)]
        return "".join(f"{line}\r\n" for line in lines).encode("ascii")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    width = max((len(row.row.question.choices) for row in rows if row.row.question), default=0)
    flips = any(row.answer and row.answer.flip_rate is not None for row in rows)
    writer.writerow(_full_header(labels, width, flips))
    writer.writerows(_full_row(row, labels, fallback, width, flips) for row in rows)
    return text.getvalue().encode("utf-8-sig")


def check_kaggle(rows: Iterable[SheetRow], labels: QuestionFormat) -> None:
    """Refuse what the plain `ID,Answer` file cannot hold, before anything is computed.

    Raises:
        ConfigError: an ID or a label has a comma, a quote, a line break or a letter beyond ASCII.
    """
    for row in rows:
        if not _plain(row.id):
            raise ConfigError(
                f"row {row.number}: the ID {row.id!r} cannot stand in a Kaggle CSV", hint="use --columns full"
            )
    for label in labels.labels:
        if not _plain(label):
            raise ConfigError(f"the label {label!r} cannot stand in a Kaggle CSV", hint="use --columns full")


def as_text_cell(text: str) -> str:
    """A cell that a spreadsheet shows and does not run.

    A text beginning with = + - @ is a formula to Excel even when quoted in the CSV, and sheets come from strangers.
    Such a cell gets an apostrophe in front, which spreadsheets take as "this is text"; plain numbers such as `-26`,
    common among options, are left alone, for a number runs nothing.
    """
    if text.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def from_text_cell(cell: str) -> str:
    """Undo `as_text_cell`."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA_STARTS) else cell


def _plain(text: str) -> bool:
    return bool(_KAGGLE_ID.fullmatch(text)) and "," not in text and '"' not in text


def _written(row: AnsweredRow, labels: QuestionFormat, fallback: str) -> str:
    return labels.label(row.answer.place) if row.answer else fallback


def _full_header(labels: QuestionFormat, width: int, flips: bool) -> list[str]:
    shares = [f"P({label})" for label in labels.labels[:width]]
    scores = [*shares, "LabelMass", "Margin", *(["FlipRate"] if flips else [])]
    return ["ID", "Answer", "Question", "Chosen", "Gold", *scores, "Status"]


def _full_row(row: AnsweredRow, labels: QuestionFormat, fallback: str, width: int, flips: bool) -> list[str]:
    """One line. `flips`: whether there is a column for the flip rate, empty where a row was asked in one order."""
    question, answer = row.row.question, row.answer
    shares = [f"{share:.6f}" for share in answer.probabilities] if answer else []
    # More options than labels is an error row, whose label may have no name in this format.
    known = question and question.answer and question.answer <= len(labels.labels)
    rate = answer.flip_rate if answer else None
    gold = labels.label(question.answer) if question and question.answer and known else ""
    return [
        as_text_cell(row.row.id),
        _written(row, labels, fallback),
        as_text_cell(question.question if question else ""),
        as_text_cell(question.choices[answer.place - 1] if question and answer else ""),
        gold,
        *shares,
        *[""] * (width - len(shares)),
        f"{answer.label_mass:.6f}" if answer else "",
        f"{answer.margin:.6f}" if answer else "",
        *([f"{rate:.6f}" if rate is not None else ""] if flips else []),
        as_text_cell(_status(row)),
    ]


def _status(row: AnsweredRow) -> str:
    if row.error:
        return f"error: {row.error}"
    return f"warning: {'; '.join(row.warnings)}" if row.warnings else "ok"
