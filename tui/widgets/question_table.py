"""The table of questions. It draws the lines that are seen and nothing else, so a sheet may have any number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.exam.board import Board, Facts
from tui.text import visible
from tui.words import words

_GAP = 2
_WIDEST_ID = 14
_REMARK_FROM = 100
_REMARK_SHARE = 0.3
_LEAST_QUESTION = 14
_SHOWN_LETTERS = 300
"""Of a question: more has no room on any screen."""


class Cell(NamedTuple):
    """A text in its column, and the component class of its colour."""

    text: str
    width: int
    style: str = ""


@dataclass(frozen=True, slots=True)
class Widths:
    """Cells of every column; 0 leaves one out."""

    number: int
    id: int
    question: int
    answer: int
    key: int
    share: int
    remark: int


class QuestionTable(ScrollView, can_focus=True):
    """Shows rows of a board; a cursor chooses one."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "question-table--head",
        "question-table--cursor",
        "question-table--right",
        "question-table--wrong",
        "question-table--unsure",
        "question-table--bad",
        "question-table--quiet",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", id="table.up"),
        Binding("down,j", "move(1)", "Down", id="table.down"),
        Binding("pageup", "page(-1)", "Page up", id="table.page_up"),
        Binding("pagedown", "page(1)", "Page down", id="table.page_down"),
        Binding("home,ctrl+home", "move_to(0)", "First", id="table.first"),
        Binding("end,ctrl+end", "move_to(-1)", "Last", id="table.last"),
        Binding("enter", "open", "Open", id="table.open"),
    ]

    class Opened(Message):
        """A question is to be shown."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at
            """Its line in the table, counted from 0."""

    cursor: reactive[int] = reactive(0)
    """The chosen line, counted from 0."""

    def __init__(self) -> None:
        super().__init__(id="questions")
        self._board = Board((), ())
        self._places: Sequence[int] = ()
        self._has_key = self._has_ids = False
        self._id_width = self._number_width = 0

    @property
    def places(self) -> Sequence[int]:
        """The rows that are shown, by their places on the board."""
        return self._places

    @property
    def place(self) -> int | None:
        """The row under the cursor."""
        return self._places[self.cursor] if self.cursor < len(self._places) else None

    def take(self, board: Board) -> None:
        """Show rows of another board; `show` says which."""
        self._board = board
        self._places = ()
        self._has_key = board.has_key
        rows = [row.row for row in board.rows]
        self._has_ids = any(row.id != str(row.number) for row in rows)
        self._id_width = min(max((cell_len(visible(row.id)) for row in rows), default=0), _WIDEST_ID)
        self._number_width = len(str(rows[-1].number)) if rows else 1
        self.cursor = 0

    def show(self, places: Sequence[int]) -> None:
        """Show these rows; the cursor stays on its row, or where that was."""
        chosen = self.place
        self._places = places
        if chosen is not None and chosen in places:
            self.cursor = places.index(chosen)
        else:
            self.cursor = min(self.cursor, max(len(places) - 1, 0))
        self._measure()
        self.refresh()

    def renew(self, places: set[int]) -> None:
        """Draw again if one of these rows can be seen."""
        first = self.scroll_offset.y
        if places.intersection(self._places[first : first + self.size.height]):
            self.refresh()

    def on_resize(self) -> None:
        self._measure()

    def _measure(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._places) + 1)  # and the head, which stays

    # Moving

    def action_move(self, lines: int) -> None:
        self._move_to(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move_to(self.cursor + pages * max(self.size.height - 2, 1))

    def action_move_to(self, line: int) -> None:
        self._move_to(line if line >= 0 else len(self._places) - 1)

    def _move_to(self, line: int) -> None:
        self.cursor = min(max(line, 0), max(len(self._places) - 1, 0))

    def watch_cursor(self, line: int) -> None:
        top, rows = self.scroll_offset.y, max(self.size.height - 1, 1)
        if line < top:
            self.scroll_to(y=line, animate=False, force=True)
        elif line >= top + rows:
            self.scroll_to(y=line - rows + 1, animate=False, force=True)
        self.refresh()

    def action_open(self) -> None:
        if self._places:
            self.post_message(self.Opened(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Choose the line; the line that is chosen already is opened."""
        line = self.scroll_offset.y + event.y - 1
        if event.y < 1 or line >= len(self._places):
            return
        if line == self.cursor:
            self.action_open()
        else:
            self._move_to(line)

    # Drawing

    def render_line(self, y: int) -> Strip:
        line = self.scroll_offset.y + y - 1
        widths = self._widths(self.size.width)
        if y == 0:
            return self._strip(self._head(widths), "question-table--head")
        if line < len(self._places):
            cells = self._line(self._places[line], widths)
            if line != self.cursor:
                return self._strip(cells, "")
            loud = [cell._replace(style="") if cell.style == "question-table--quiet" else cell for cell in cells]
            return self._strip(loud, "question-table--cursor")
        if line == 0 and self._board.rows:
            return self._strip([Cell(words().exam.nothing_here, self.size.width, "question-table--quiet")], "")
        return self._strip([], "")

    def _widths(self, width: int) -> Widths:
        """Columns for a table of that width; where the question gets too little, others go, the least needed first."""
        heads = [cell_len(head) for head in words().exam.heads]
        answer = max(heads[3], *(cell_len(label) for label in self._board.labels), 1)
        columns = {
            "remark": int(width * _REMARK_SHARE) if width >= _REMARK_FROM else 0,
            "id": max(self._id_width, heads[1]) if self._has_ids else 0,
            "key": max(heads[4], answer) if self._has_key else 0,
            "share": max(heads[5], 4),
            "answer": answer,
            "number": max(self._number_width, heads[0]),
        }

        def room() -> int:
            return width - 2 * _GAP - sum(column + _GAP for column in columns.values() if column)

        for name in ("remark", "id", "key", "share", "answer"):
            if room() < _LEAST_QUESTION:
                columns[name] = 0
        return Widths(question=max(room(), 1), **columns)

    def _head(self, widths: Widths) -> list[Cell]:
        number, identity, question, answer, key, share, remark = words().exam.heads
        return _cells(widths, number, identity, "", question, answer, key, share, remark)

    def _line(self, place: int, widths: Widths) -> list[Cell]:
        board, row = self._board, self._board.rows[place]
        found, question, answer = board.facts(place), row.row.question, row.answer
        asked = one_line(question.question) if question else ""
        remark = one_line(row.error or "; ".join(row.warnings))
        if Facts.BAD in found and not widths.remark:
            asked = f"{remark}: {asked}" if asked else remark
        share = f"{answer.probabilities[answer.place - 1]:.0%}" if answer else ""
        style = _style_of(found)
        cells = _cells(
            widths,
            str(row.row.number),
            visible(row.row.id),
            _mark_of(found),
            asked,
            board.label(answer.place) if answer else "",
            board.label(question.answer) if question else "",
            share,
            remark,
        )
        styles = ("question-table--quiet", "question-table--quiet", style, "", style, "", "", "question-table--quiet")
        if Facts.BAD in found:
            styles = (*styles[:2], style, style, *styles[4:7], style)
        elif Facts.UNSURE in found:
            styles = (*styles[:6], "question-table--unsure", styles[7])
        return [cell._replace(style=style) for cell, style in zip(cells, styles, strict=True)]

    def _strip(self, cells: Sequence[Cell], part: str) -> Strip:
        _, _, ground, ink = self.colors
        bold = Style()
        if part:
            styles = self.get_component_styles(part)
            ground, ink, bold = ground + styles.background, ground + styles.background + styles.color, styles.text_style
        base = Style.from_color(ink.rich_color, ground.rich_color) + bold
        segments = [Segment(" ", base)]
        for text, width, style in cells:
            if width:
                segments += [Segment(_fitted(text, width), self._over(ground, base, style)), Segment(" " * _GAP, base)]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _over(self, ground: Color, base: Style, part: str) -> Style:
        """The colour of a part on this ground; a terminal knows no transparency."""
        if not part:
            return base
        styles = self.get_component_styles(part)
        return base + Style.from_color((ground + styles.color).rich_color) + styles.text_style


def one_line(text: str) -> str:
    """A text as one safe line, as much as a table can show of it."""
    return " ".join(visible(text[:_SHOWN_LETTERS]).split())


def _cells(widths: Widths, *texts: str) -> list[Cell]:
    number, identity, mark, question, answer, key, share, remark = texts
    return [
        Cell(_right(number, widths.number), widths.number),
        Cell(identity, widths.id),
        Cell(mark, 1),
        Cell(question, widths.question - 1),
        Cell(answer, widths.answer),
        Cell(key, widths.key),
        Cell(_right(share, widths.share), widths.share),
        Cell(remark, widths.remark),
    ]


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _fitted(text: str, width: int) -> str:
    """The text in exactly so many cells."""
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"


def _style_of(found: Facts) -> str:
    for kind, style in ((Facts.BAD, "bad"), (Facts.WRONG, "wrong"), (Facts.RIGHT, "right"), (Facts.UNSURE, "unsure")):
        if kind in found:
            return f"question-table--{style}"
    return ""


def _mark_of(found: Facts) -> str:
    for kind, mark in ((Facts.BAD, "!"), (Facts.WRONG, "✗"), (Facts.RIGHT, "✓"), (Facts.UNSURE, "?")):
        if kind in found:
            return mark
    return ""
