"""Reading a CSV of answers: `predict`'s two kinds, or any table with the columns ID and Answer."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.records import cell_text, read_table
from runtime.report import from_text_cell


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """One row of a CSV of answers; None stands for what the CSV does not tell."""

    id: str
    label: str
    probabilities: tuple[float | None, ...] = ()
    """Of the options in order, as the columns P(1), P(2), … hold them."""
    label_mass: float | None = None
    flip_rate: float | None = None
    """Share of the option orders under which another option won."""


class Answers:
    """The rows of a CSV, to be taken by ID: the n-th row of an ID answers the n-th row of that ID in the sheet."""

    def __init__(self, rows: list[WrittenAnswer], labels: tuple[str, ...]) -> None:
        self.rows = rows
        self.labels = labels
        """The labels that the header of a full CSV tells; empty for other CSVs."""
        self._waiting: dict[str, deque[WrittenAnswer]] = defaultdict(deque)
        for row in rows:
            self._waiting[row.id].append(row)

    def take(self, identity: str) -> WrittenAnswer | None:
        """The next row of this ID; None when there is none left."""
        return self._waiting[identity].popleft() if self._waiting[identity] else None

    def left(self) -> tuple[str, ...]:
        """IDs of the rows that nothing has taken."""
        return tuple(identity for identity, rows in self._waiting.items() for _ in rows)


def read_answers(path: Path) -> Answers:
    """Read a CSV (or workbook) of answers.

    Raises:
        ConfigError: it cannot be read, lacks its columns, or holds a probability that is none.
    """
    table = read_table(path)
    found = {column.strip().lower(): column for column in table.columns}
    if "id" not in found or "answer" not in found:
        raise ConfigError(f"{path} has the columns {', '.join(table.columns)}", hint="it needs ID and Answer")
    shares = [column for column in table.columns if column.startswith("P(") and column.endswith(")")]

    def number(row: Mapping[str, Any], column: str | None, at: int) -> float | None:
        text = cell_text(row[column]).strip() if column else ""
        try:
            value = float(text) if text else None
        except ValueError:
            value = math.nan
        if value is not None and not 0 <= value <= 1.0001:  # six decimals may round a sum of shares above 1
            raise ConfigError(f"{path}: row {at} has '{text}' in the column {column}", hint="it must be 0 to 1")
        return value

    rows = [
        WrittenAnswer(
            id=from_text_cell(cell_text(row[found["id"]]).strip()),
            label=cell_text(row[found["answer"]]).strip(),
            probabilities=tuple(number(row, column, at) for column in shares),
            label_mass=number(row, found.get("labelmass"), at),
            flip_rate=number(row, found.get("fliprate"), at),
        )
        for at, row in enumerate(table.rows, 1)
    ]
    return Answers(rows, tuple(column[2:-1] for column in shares))
