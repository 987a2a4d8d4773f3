"""Where the person writes: Enter sends, Ctrl+J begins a new line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.events import Key
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Selection

from tui import words
from tui.text import visible

_SEND = "enter"
# Ctrl+J is the one newline key that every terminal passes on; the others need the kitty protocol.
_NEWLINE = ("ctrl+j", "shift+enter", "alt+enter")


class PromptInput(TextArea):
    """A text area that grows with what is written."""

    @dataclass
    class Sent(Message):
        """The person pressed Enter; who cannot take the text gives it back."""

        text: str

    def __init__(self) -> None:
        super().__init__(
            id="prompt",
            soft_wrap=True,
            compact=True,
            highlight_cursor_line=False,
            placeholder=words.PROMPT_PLACEHOLDER,
        )

    async def _on_key(self, event: Key) -> None:
        # Not bindings: those with priority run before the characters that were typed just before
        # them have arrived here, and those without come after the text area's own Enter.
        if event.key == _SEND:
            self._send()
        elif event.key in _NEWLINE:
            self.insert("\n", maintain_selection_offset=False)
        else:
            return
        event.stop()
        event.prevent_default()

    def _send(self) -> None:
        text = visible(self.text).strip()
        if text:
            # At once, so that what is typed next begins an empty prompt.
            self.clear()
            self.post_message(self.Sent(text))

    def give_back(self, text: str) -> None:
        """Put a message that was not taken in front of what has been written since."""
        self.insert(f"{text}\n" if self.text else text, (0, 0))
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
