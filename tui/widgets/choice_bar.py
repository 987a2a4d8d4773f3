"""A few words on a line, one of which is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

_GAP = 2


class ChoiceBar(Widget):
    """Chosen from by a click, or by whoever sets `chosen`."""

    @dataclass
    class Chosen(Message):
        """Another word was clicked."""

        index: int

    def __init__(self, id: str) -> None:  # noqa: A002  as every widget calls it
        super().__init__(id=id)
        self._words: tuple[str, ...] = ()
        self._at = 0

    def show(self, words: Sequence[str], chosen: int) -> None:
        """Show these words."""
        if (tuple(words), chosen) != (self._words, self._at):
            self._words, self._at = tuple(words), chosen
            self.refresh()

    def render(self) -> Content:
        words = [
            Content.styled(word, "bold $primary underline" if at == self._at else "$foreground 60%")
            for at, word in enumerate(self._words)
        ]
        return Content(" " * _GAP).join(words)

    def on_click(self, event: Click) -> None:
        at = 0
        for index, word in enumerate(self._words):
            if at <= event.x < at + cell_len(word):
                self.post_message(self.Chosen(index))
            at += cell_len(word) + _GAP
