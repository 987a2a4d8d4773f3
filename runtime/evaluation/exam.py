"""Grading a CSV of answers against a sheet with labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.accuracy import Accuracy, confusion
from configs.calibration import Forecast
from configs.column_names import SOURCE, normalised
from configs.errors import ConfigError
from configs.exam import parse_label
from configs.records import cell_text
from configs.sheets import Sheet, SheetRow, read_questions
from runtime.arguments import COLUMNS_FLAG
from runtime.evaluation.answers import Answers, WrittenAnswer


@dataclass(frozen=True, slots=True)
class GradedRow:
    """A labelled question of the sheet and what the CSV says of it."""

    id: str
    gold: int
    place: int | None
    """The option answered; None where there is no answer, or one that names no option."""
    group: str
    """What the sheet's grouping column holds; empty without one."""
    forecast: Forecast | None
    """None where the CSV holds no probabilities."""
    label_mass: float | None
    flip_rate: float | None

    @property
    def right(self) -> bool:
        return self.place == self.gold


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the answers are worth. Rows of the sheet that have no answer in the CSV count as wrong."""

    graded: tuple[GradedRow, ...]
    """Every labelled row of the sheet, in order."""
    answers: int
    """Rows of the CSV."""
    questions: int
    """Rows of the sheet."""
    group_column: str
    missing: tuple[str, ...]
    """IDs of the sheet without a row in the CSV."""
    extra: tuple[str, ...]
    """IDs of the CSV that the sheet has not, or not that often."""
    without_label: tuple[str, ...]
    """IDs of the sheet whose label cannot be read; left out of the accuracy."""
    unnamed: tuple[str, ...]
    """IDs whose answer names no option; they count as wrong."""

    @property
    def accuracy(self) -> Accuracy:
        return accuracy_of(self.graded)

    @property
    def confusion(self) -> Counter[tuple[int, int | None]]:
        """(gold place, answered place) -> rows; None is no answer, or one that names no option."""
        return confusion((row.gold, row.place) for row in self.graded)

    @property
    def forecasts(self) -> list[Forecast]:
        return [row.forecast for row in self.graded if row.forecast]

    def groups(self) -> dict[str, Accuracy]:
        """Accuracy by what the grouping column holds, the largest group first; empty without such a column."""
        members: dict[str, list[GradedRow]] = {}
        for row in self.graded if self.group_column else ():
            members.setdefault(row.group, []).append(row)
        found = {name: accuracy_of(rows) for name, rows in members.items()}
        return dict(sorted(found.items(), key=lambda item: (-item[1].total, item[0])))


def accuracy_of(rows: Sequence[GradedRow]) -> Accuracy:
    """Right answers among labelled rows."""
    return Accuracy(sum(row.right for row in rows), len(rows))


def read_gold(
    sheet: Path, columns: Mapping[str, str] | None = None, by: str | None = None, encoding: str = ""
) -> tuple[Sheet, str]:
    """The sheet, and the column that groups its rows ("" for none).

    Args:
        by: the column named by the user; None looks for one that names sources.

    Raises:
        ConfigError: the sheet cannot be read or has no such column.
    """
    given = dict(columns or {})
    if by and by not in given.values():
        given[f"ignore:{by}"] = by
    gold = read_questions(sheet, columns=given, need_answers=True, columns_flag=COLUMNS_FLAG, encoding=encoding)
    if by is not None:
        return gold, by
    known = list(gold.rows[0].raw or {})
    return gold, next((column for column in known if normalised(column) in SOURCE), "")


def grade(gold: Sheet, answers: Answers, *, labels: Sequence[str] = (), group_column: str = "") -> Evaluation:
    """Hold answers against the labels of a sheet.

    Args:
        labels: the labels that the CSV holds; without them those that its header tells, else 1, 2, … and A, B, …
            name options.

    Raises:
        ConfigError: the same, of a row whose probabilities do not fit its options.
    """
    labels = tuple(labels) or answers.labels
    missing: list[str] = []
    without_label: list[str] = []
    unnamed: list[str] = []
    graded: list[GradedRow] = []
    for row in gold.rows:
        written = answers.take(row.id)
        if written is None:
            missing.append(row.id)
        if row.question is None or row.question.answer is None:
            without_label.append(row.id)
            continue
        place = _place(written, row, labels)
        unnamed += [row.id] if written and written.label and place is None else []
        graded.append(_graded(row, written, place, group_column))
    return Evaluation(
        graded=tuple(graded),
        answers=len(answers.rows),
        questions=len(gold.rows),
        group_column=group_column,
        missing=tuple(missing),
        extra=answers.left(),
        without_label=tuple(without_label),
        unnamed=tuple(unnamed),
    )


def _graded(row: SheetRow, written: WrittenAnswer | None, place: int | None, group_column: str) -> GradedRow:
    assert row.question is not None
    assert row.question.answer is not None
    return GradedRow(
        id=row.id,
        gold=row.question.answer,
        place=place,
        group=cell_text((row.raw or {}).get(group_column)).strip() if group_column else "",
        forecast=_forecast(row, written, place) if written and place else None,
        label_mass=written.label_mass if written else None,
        flip_rate=written.flip_rate if written else None,
    )


def _forecast(row: SheetRow, written: WrittenAnswer, place: int) -> Forecast | None:
    """The shares of the options that can be chosen; None where the CSV has none."""
    assert row.question is not None
    assert row.question.answer is not None
    places = row.question.answerable
    shares = [share for at, share in enumerate(written.probabilities, 1) if at in places]
    known = tuple(share for share in shares if share is not None)
    if not known:
        return None
    if len(known) != len(places) or abs(sum(known) - 1) > 0.01:
        raise ConfigError(
            f"the probabilities of ID {row.id} are not those of its {len(places)} options",
            hint="do CSV and sheet belong together?",
        )
    if place not in places:  # a fallback label may name a blank option
        return None
    return Forecast(known, places.index(place), places.index(row.question.answer))


def _place(written: WrittenAnswer | None, row: SheetRow, labels: Sequence[str]) -> int | None:
    """The option that an answer names."""
    assert row.question is not None
    if not written or not written.label:
        return None
    if labels:
        return labels.index(written.label) + 1 if written.label in labels else None
    try:
        return parse_label(written.label, len(row.question.choices))[0]
    except ValueError:
        return None
