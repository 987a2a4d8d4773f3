"""Rows of question sheets -> records to train on, and the rows left out with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from configs.errors import ConfigError
from configs.exam import Question, QuestionFormat
from configs.sheets import Sheet, SheetRow, read_questions
from trainer.datasets.folder import Rejected, Row

ExamKey = tuple[str, str, tuple[str, ...]]


@dataclass(slots=True)
class Harvest:
    """What the sheets gave: rows to train on, rows left out, and the counts people ask for."""

    rows: list[Row] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    read: int = 0
    labels_normalised: int = 0
    blank_options: int = 0
    duplicates: int = 0
    _seen: dict[ExamKey, tuple[str, int | None]] = field(default_factory=dict)

    def add(self, file: str, row: SheetRow, question_format: QuestionFormat) -> None:
        """Take one row of a sheet: as a record, or as a rejected row with its reason."""
        self.read += 1
        self.labels_normalised += row.label_normalised
        reason = row.error
        if row.question and not reason:
            self.blank_options += sum(not choice.strip() for choice in row.question.choices)
            reason = self._reason_against(row.question, f"{file} row {row.number}", question_format)
        if reason or row.question is None:
            asked = row.question.question if row.question else ""
            self.rejected.append(Rejected(file, row.number, row.id, reason, asked))
        else:
            self.rows.append(Row(row.id, tuple(question_format.messages(row.question)), row.question))

    def _reason_against(self, question: Question, place: str, question_format: QuestionFormat) -> str:
        if question.answer is None:
            return "no answer"
        if not question.choices[question.answer - 1].strip():
            return "the right option is blank"
        if len(question.choices) > len(question_format.labels):
            return f"{len(question.choices)} options, the question format has {len(question_format.labels)} labels"
        key = (question.passage.strip(), question.question.strip(), tuple(text.strip() for text in question.choices))
        first, answer = self._seen.setdefault(key, (place, question.answer))
        if first == place:
            return ""
        self.duplicates += 1
        return f"duplicate of {first}" if answer == question.answer else f"duplicate of {first} with another answer"


def read_sheets(
    paths: Sequence[Path], columns: Mapping[str, str] | None, encoding: str = ""
) -> list[tuple[Path, Sheet]]:
    """Read every sheet whole, so that a bad one is known before anything is written.

    Raises:
        ConfigError: a sheet is missing, unreadable, empty or lacks a column.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("the same sheet is given twice")
    return [(path, read_questions(path, columns=columns, need_answers=True, encoding=encoding)) for path in paths]


def harvest(sheets: Sequence[tuple[Path, Sheet]], question_format: QuestionFormat) -> Harvest:
    """Turn all rows of all sheets into records and rejected rows."""
    gathered = Harvest()
    for path, sheet in sheets:
        for row in sheet.rows:
            gathered.add(path.name, row, question_format)
    return gathered
