"""Where the person writes: Enter sends, Ctrl+J begins a new line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Selection

from tui import words
from tui.text import visible


class PromptInput(TextArea):
    """A text area that grows with what is written."""

    # Ctrl+J is the one newline key that every terminal passes on; Shift+Enter needs the kitty protocol.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="prompt.send", priority=True),
        Binding("ctrl+j,shift+enter,alt+enter", "newline", "New line", id="prompt.newline", priority=True),
    ]

    @dataclass
    class Sent(Message):
        """The person pressed Enter."""

        text: str

    def __init__(self) -> None:
        super().__init__(
            id="prompt",
            soft_wrap=True,
            compact=True,
            highlight_cursor_line=False,
            placeholder=words.PROMPT_PLACEHOLDER,
        )

    def action_send(self) -> None:
        text = visible(self.text).strip()
        if text:
            self.post_message(self.Sent(text))

    def action_newline(self) -> None:
        self.insert("\n", maintain_selection_offset=False)

    def take_back(self, text: str) -> None:
        """Put a message that was not sent in front of what is being written."""
        self.load_text(f"{text}\n{self.text}" if self.text else text)
        self.move_cursor(self.document.end)

    def undo(self) -> None:
        self._from_the_beginning(super().undo)

    def redo(self) -> None:
        self._from_the_beginning(super().redo)

    def _from_the_beginning(self, change: Callable[[], None]) -> None:
        """Undo or redo with the cursor at a place that exists before and after.

        Undoing a paste redraws the shorter document while the cursor is still where the paste ended,
        beyond the last line, and the widget raises (textual#6686). The change puts the cursor back.
        """
        text, selection = self.text, self.selection
        self.selection = Selection.cursor((0, 0))
        change()
        if self.text == text:
            self.selection = selection
