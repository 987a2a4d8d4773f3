"""A table of any number of rows, of which only those that are seen are made.

Textual's DataTable keeps every cell; on a sheet of 10,000 rows every answer costs it 18 ms (textual#4737). Here a row
is asked for when it is painted, and costs nothing otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual

_HEAD_ROWS = 1
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column; the one without a width takes what the others leave."""

    title: str
    width: int = 0
    """Cells."""
    to_the_right: bool = False


class RowTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows rows, one of which is chosen.

    Args:
        columns: from left to right; one of them without a width.
        cells: makes the cells of a row, counted from 0.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"row-table--head", "row-table--chosen"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Row above", id="table.up"),
        Binding("down,j", "move(1)", "Row below", id="table.down"),
        Binding("pageup", "move_page(-1)", "Page up", id="table.page_up"),
        Binding("pagedown", "move_page(1)", "Page down", id="table.page_down"),
        Binding("home", "move_to(0)", "First row", id="table.first"),
        Binding("end", "move_to(-1)", "Last row", id="table.last"),
        Binding("enter", "open", "Open", id="table.open"),
    ]

    @dataclass
    class Opened(Message):
        """The person wants to see all of a row."""

        row: int

    chosen: reactive[int] = reactive(0, repaint=False)
    """The row that the cursor is on."""
    count: reactive[int] = reactive(0, repaint=False)
    """How many rows there are."""

    def __init__(self, columns: Sequence[Column], cells: Callable[[int], Sequence[Content]]) -> None:
        super().__init__()
        self._columns = tuple(columns)
        self._cells = cells

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Have other columns from here on."""
        self._columns = tuple(columns)
        self.refresh()

    def watch_count(self) -> None:
        self.virtual_size = Size(self.size.width, self.count + _HEAD_ROWS)
        self.chosen = min(self.chosen, max(self.count - 1, 0))
        self.refresh()

    def watch_chosen(self) -> None:
        self.scroll_to_region(Region(0, self.chosen, 1, _HEAD_ROWS + 1), animate=False, force=True, immediate=True)
        self.refresh()

    def on_resize(self, event: Resize) -> None:
        self.virtual_size = Size(event.size.width, self.count + _HEAD_ROWS)

    def action_move(self, rows: int) -> None:
        self.chosen = min(max(self.chosen + rows, 0), max(self.count - 1, 0))

    def action_move_page(self, pages: int) -> None:
        self.action_move(pages * max(self.size.height - _HEAD_ROWS - 1, 1))

    def action_move_to(self, row: int) -> None:
        self.chosen = max(self.count - 1, 0) if row < 0 else row

    def action_open(self) -> None:
        if self.count:
            self.post_message(self.Opened(self.chosen))

    def on_click(self, event: Click) -> None:
        """Choose a row; a click on the chosen one opens it."""
        row = event.y + self.scroll_offset.y - _HEAD_ROWS
        if event.y < _HEAD_ROWS or not 0 <= row < self.count:
            return
        if row == self.chosen:
            self.action_open()
        self.chosen = row

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y < _HEAD_ROWS:
            style = self._component("row-table--head")
            return self._strip([Content(column.title) for column in self._columns], width, style)
        row = y + self.scroll_offset.y - _HEAD_ROWS
        if row >= self.count:
            return Strip.blank(width, self.rich_style)
        chosen = row == self.chosen
        style = self._component("row-table--chosen") if chosen else self.visual_style
        return self._strip(self._cells(row), width, style)

    def _strip_of(self, line: Content) -> Strip:
        """A line across all columns."""
        return Visual.to_strips(self, line, self.scrollable_content_region.width, 1, self.visual_style, pad=True)[0]

    def _component(self, name: str) -> Style:
        return self.get_visual_style(name)

    def _strip(self, cells: Sequence[Content], width: int, style: Style) -> Strip:
        line = Content("")
        for column, room, cell in zip(self._columns, self._widths(width), cells, strict=True):
            if line:
                line += " " * _GAP
            short = cell.truncate(room, ellipsis=True) if cell.cell_length > room else cell
            blank = " " * max(room - short.cell_length, 0)
            line += Content(blank) + short if column.to_the_right else short + Content(blank)
        return Visual.to_strips(self, line, width, 1, style, pad=True)[0]

    def _widths(self, width: int) -> list[int]:
        fixed = sum(max(column.width, 0) for column in self._columns) + _GAP * (len(self._columns) - 1)
        return [column.width or max(width - fixed, cell_len(column.title)) for column in self._columns]
