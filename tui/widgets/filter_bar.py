"""Which rows of the sheet are shown: one line of filters with their counts."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from tui.exam.board import FILTERS, Board, Facts
from tui.words import words

_GAP = "   "


class FilterBar(Widget):
    """Keys 1 to 5 choose, and so does a click."""

    class Chosen(Message):
        """The person wants to see other rows."""

        def __init__(self, kind: Facts) -> None:
            super().__init__()
            self.kind = kind

    def __init__(self) -> None:
        super().__init__(id="filters")
        self._counts: tuple[int, ...] = (0,) * len(FILTERS)
        self._kind = Facts.ALL
        self._found = ""

    def show(self, board: Board, kind: Facts, extra: str) -> None:
        """Draw again if anything has changed; `extra` is what else decides about the rows."""
        counts = tuple(board.count(each) for each in FILTERS)
        if (counts, kind, extra) != (self._counts, self._kind, self._found):
            self._counts, self._kind, self._found = counts, kind, extra
            self.refresh()

    def render(self) -> Content:
        parts = [*self._parts()]
        if self._found:
            parts.append(Content.styled(self._found, "$accent"))
        return Content(_GAP).join(parts).truncate(max(self.size.width, 1), ellipsis=True)

    def on_click(self, event: events.Click) -> None:
        end = -len(_GAP)
        for part, kind in zip(self._parts(), FILTERS, strict=True):
            start, end = end + len(_GAP), end + len(_GAP) + part.cell_length
            if start <= event.x < end:
                self.post_message(self.Chosen(kind))

    def _parts(self) -> list[Content]:
        return [
            Content.assemble(
                (f"{number} ", "$foreground 60%"),
                (name, "bold $primary underline" if kind == self._kind else ""),
                (f" {count:,}", "$foreground 60%"),
            )
            for number, (name, kind, count) in enumerate(
                zip(words().exam.filters, FILTERS, self._counts, strict=True), start=1
            )
        ]
