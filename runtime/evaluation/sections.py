"""A result as titled tables: printed on a terminal, or put into a page."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from configs.exam import without_control

_MOST_CELLS = 48


@dataclass(frozen=True, slots=True)
class Section:
    """A title, sentences, and a table whose first column names its rows."""

    title: str
    notes: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    plot: str = ""
    """Name of the plot that belongs here."""


def as_lines(sections: Sequence[Section], most_rows: int = 20) -> list[str]:
    """For a terminal: tables aligned, of long ones the beginning."""
    lines: list[str] = []
    for section in sections:
        lines += ["", section.title] if lines else [section.title]
        lines += map(without_control, section.notes)
        lines += _table(section, most_rows)
    return lines


def _table(section: Section, most_rows: int) -> list[str]:
    if not section.rows:
        return []
    shown = [
        tuple(_cut(without_control(" ".join(cell.split()))) for cell in row)
        for row in (section.header, *section.rows[:most_rows])
    ]
    widths = [max(map(_width, column)) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join([_padded(row[0], widths[0], left=True), *map(_padded, row[1:], widths[1:])]).rstrip() for row in shown
    ]
    left = len(section.rows) - most_rows
    return [*lines, f"… and {left} more (--json or --report has them)"] if left > 0 else lines


def _cut(text: str) -> str:
    """What a terminal has room for beside the other columns."""
    if _width(text) <= _MOST_CELLS:
        return text
    while _width(text) >= _MOST_CELLS:
        text = text[:-1]
    return f"{text}…"


def _padded(text: str, width: int, *, left: bool = False) -> str:
    room = " " * (width - _width(text))
    return text + room if left else room + text


def _width(text: str) -> int:
    """Cells on a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
