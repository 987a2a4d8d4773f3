"""The table of questions: the rows of a board that a filter lets through, in the columns that there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual.content import Content
from textual.events import Resize
from textual.strip import Strip

from tui.exam.board import Board, Facts
from tui.text import visible
from tui.widgets.row_table import Column, RowTable
from tui.words import words

_WIDEST_ID = 14
_LEAST_QUESTION = 14
_REMARK_FROM = 100
_REMARK_SHARE = 0.3
_SHOWN_LETTERS = 300
"""Of a question: more has no room on any screen."""
_EDGES = 4
"""Cells at the table's sides: padding, and the scroll bar."""
_QUIET = "$foreground 75%"


class _Kind(NamedTuple):
    """What a row shows of its fate."""

    fact: Facts
    mark: str
    style: str


_KINDS = (
    _Kind(Facts.BAD, "!", "$error"),
    _Kind(Facts.WRONG, "✗", "$error"),
    _Kind(Facts.RIGHT, "✓", "$success"),
    _Kind(Facts.UNSURE, "?", "$warning"),
)


class QuestionTable(RowTable):
    """Shows rows of a board; the cursor stays on its row when others come and go."""

    def __init__(self) -> None:
        super().__init__((), self._line)
        self.id = "questions"
        self._board = Board((), ())
        self._places: Sequence[int] = ()
        self._names: tuple[str, ...] = ()
        self._has_key = self._has_ids = False
        self._id_width = self._number_width = 0

    @property
    def places(self) -> Sequence[int]:
        """The rows that are shown, by their places on the board."""
        return self._places

    def take(self, board: Board) -> None:
        """Show rows of another board; `show` says which."""
        self._board = board
        self._places = ()
        self._has_key = board.has_key
        rows = [row.row for row in board.rows]
        self._has_ids = any(row.id != str(row.number) for row in rows)
        self._id_width = min(max((cell_len(visible(row.id)) for row in rows), default=0), _WIDEST_ID)
        self._number_width = len(str(rows[-1].number)) if rows else 1
        self.count = self.chosen = 0
        self._choose_columns(self.size.width)

    def show(self, places: Sequence[int], *, top: bool = False) -> None:
        """Show these rows; the cursor stays on its row, or where that was, unless it is to be at the `top`."""
        place = self._places[self.chosen] if self.chosen < len(self._places) else None
        self._places = places
        self.count = len(places)
        if top:
            self.chosen = 0
        elif place is not None and place in places:
            self.chosen = places.index(place)
        self.refresh()

    def renew(self, places: set[int]) -> None:
        """Draw again if one of these rows can be seen."""
        first = self.scroll_offset.y
        if places.intersection(self._places[first : first + self.size.height]):
            self.refresh()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._choose_columns(event.size.width)

    def render_line(self, y: int) -> Strip:
        if y == 1 and not self._places and self._board.rows:
            return self._strip_of(Content.styled(words().exam.nothing_here, _QUIET))
        return super().render_line(y)

    def _choose_columns(self, width: int) -> None:
        """Columns for a table of that width; where the question gets too little, others go, the least needed first."""
        number, identity, question, answer, key, share, remark = words().exam.heads
        label = max([cell_len(answer), *map(cell_len, self._board.labels)])
        columns = {
            "number": Column(number, max(self._number_width, cell_len(number)), to_the_right=True),
            "id": Column(identity, max(self._id_width, cell_len(identity))),
            "mark": Column("", 1),
            "question": Column(question),
            "answer": Column(answer, label),
            "key": Column(key, max(cell_len(key), label)),
            "share": Column(share, max(cell_len(share), 4), to_the_right=True),
            "remark": Column(remark, int(width * _REMARK_SHARE)),
        }
        if not self._has_ids:
            del columns["id"]
        if not self._has_key:
            del columns["key"]
        if width < _REMARK_FROM:
            del columns["remark"]
        for name in ("remark", "id", "key", "share", "answer"):
            taken = sum(column.width + 2 for column in columns.values())
            if width - _EDGES - taken < _LEAST_QUESTION:
                columns.pop(name, None)
        self._names = tuple(columns)
        self.set_columns(tuple(columns.values()))

    def _line(self, line: int) -> list[Content]:
        """The cells of a line, for the columns that are shown."""
        board, place = self._board, self._places[line]
        row, found = board.rows[place], board.facts(place)
        question, answer = row.row.question, row.answer
        kind = next((kind for kind in _KINDS if kind.fact in found), _Kind(Facts.ALL, "", ""))
        asked = one_line(question.question) if question else ""
        remark = one_line(row.error or "; ".join(row.warnings))
        if row.error and "remark" not in self._names:
            asked = f"{remark}: {asked}" if asked else remark
        ink = "italic $error" if row.error else ""
        share = f"{answer.probabilities[answer.place - 1]:.0%}" if answer else ""
        cells = {
            "number": (str(row.row.number), _QUIET),
            "id": (visible(row.row.id).replace("\n", " "), _QUIET),
            "mark": (kind.mark, kind.style),
            "question": (asked, ink),
            "answer": (board.label(answer.place) if answer else "", kind.style),
            "key": (board.label(question.answer) if question else "", ""),
            "share": (share, "$warning" if Facts.UNSURE in found else ""),
            "remark": (remark, ink or _QUIET),
        }
        return [Content.styled(*cells[name]) for name in self._names]


def one_line(text: str) -> str:
    """A text as one safe line, as much as a table can show of it."""
    return " ".join(visible(text[:_SHOWN_LETTERS]).split())
