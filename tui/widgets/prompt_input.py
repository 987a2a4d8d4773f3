"""Where the person writes: Enter sends, Ctrl+J begins a new line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.events import Key, Paste
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Selection

from tui.commands import completions
from tui.keys import keys_of
from tui.text import visible
from tui.widgets.burst import Burst
from tui.words import words

_VERSIONS = {"left_square_bracket": -1, "right_square_bracket": 1}
# Beyond these a text area takes seconds for a key: the text is kept aside, and a sign stands for it.
_MOST_CHARACTERS = 100_000
_LONGEST_LINE = 4_000


class PromptInput(TextArea):
    """A text area that grows with what is written, remembers what was sent, and tells a paste from typing.

    Args:
        commands: whether Tab completes slash commands.
    """

    @dataclass
    class Sent(Message):
        """The person pressed Enter; who cannot take the text gives it back."""

        text: str

    class Left(Message):
        """The person pressed Tab: to select messages."""

    class Held(Message):
        """Lines came too quickly to have been typed, and were not sent."""

    @dataclass
    class VersionAsked(Message):
        """`[` or `]` in an empty prompt, when there is something to choose between."""

        step: int

    def __init__(self, *, commands: bool = True) -> None:
        super().__init__(
            id="prompt",
            soft_wrap=True,
            compact=True,
            highlight_cursor_line=False,
            placeholder=words().prompt_placeholder,
        )
        self._commands = commands
        self.versions_asked = False
        """Whether `[` and `]` choose a version while the prompt is empty: until something else is typed."""
        self._past: list[str] = []
        self._at: int | None = None
        self._draft = ""
        self._pastes: dict[str, str] = {}
        self._burst = Burst(self.set_timer, self._send, self._newline, lambda: self.post_message(self.Held()))

    async def _on_key(self, event: Key) -> None:
        # Not bindings: those with priority run before the characters that were typed just before
        # them have arrived here, and those without come after the text area's own Enter.
        if self._take(event):
            event.stop()
            event.prevent_default()

    def _take(self, event: Key) -> bool:
        """Do what a key means here, and say whether it meant something."""
        sends = event.key in keys_of("prompt.send")
        if self._burst.key(event.time, enter=sends and event.key == "enter"):
            return True
        if sends:
            self._send()
            return True
        if event.key in _VERSIONS and self.versions_asked and not self.text:
            self.post_message(self.VersionAsked(_VERSIONS[event.key]))
        elif event.key in keys_of("prompt.newline"):
            self._newline()
        elif event.key == "tab":
            self._tab()
        elif event.key == "up" and self._at_edge(0):
            return self._recall(-1)
        elif event.key == "down" and self._at_edge(self.wrapped_document.height - 1):
            return self._recall(1)
        else:
            self.versions_asked = False
            return False
        return True

    async def _on_paste(self, event: Paste) -> None:
        self.paste_text(event.text)
        event.stop()
        event.prevent_default()

    def paste_text(self, pasted: str) -> None:
        """Insert a text, or a sign for it if it is very large."""
        text = visible(pasted)
        if len(text) > _MOST_CHARACTERS or max(map(len, text.split("\n"))) > _LONGEST_LINE:
            sign = words().pasted.format(number=len(self._pastes) + 1, characters=f"{len(text):,}")
            self._pastes[sign] = text
            text = sign
        begin, end = sorted(self.selection)
        self.move_cursor(self.replace(text, begin, end).end_location)
        self.focus()

    def remember(self, texts: Sequence[str]) -> None:
        """Take what was sent before, oldest first, for Up and Down."""
        self._past = list(texts)
        self._at = None

    def write(self, text: str) -> None:
        """Put a text in place of what is there."""
        self.text = text
        self.move_cursor(self.document.end)

    def give_back(self, text: str) -> None:
        """Put a message that was not taken in front of what has been written since."""
        self.insert(f"{text}\n" if self.text else text, (0, 0))
        self.move_cursor(self.document.end)

    def undo(self) -> None:
        self._from_the_beginning(super().undo)

    def redo(self) -> None:
        self._from_the_beginning(super().redo)

    def _send(self) -> None:
        text = visible(self.text).strip()
        if not text:
            return
        for sign, pasted in self._pastes.items():
            text = text.replace(sign, pasted)
        self._pastes.clear()
        self._at = None
        if self._past[-1:] != [text]:
            self._past.append(text)
        # At once, so that what is typed next begins an empty prompt.
        self.clear()
        self.post_message(self.Sent(text))

    def _newline(self) -> None:
        self.insert("\n", maintain_selection_offset=False)

    def _tab(self) -> None:
        names = completions(self.text) if self._commands else []
        if names:
            self.write(f"/{names[0]} ")
        else:
            self.post_message(self.Left())

    def _at_edge(self, row: int) -> bool:
        """Whether the cursor is in this line as it is seen, and nothing is selected."""
        here = self.wrapped_document.location_to_offset(self.cursor_location)
        return self.selection.is_empty and here.y == row

    def _recall(self, step: int) -> bool:
        """Show what was sent before or after what is shown; the draft comes after the newest."""
        at = len(self._past) if self._at is None else self._at
        to = at + step
        if not 0 <= to <= len(self._past):
            return False
        if self._at is None:
            self._draft = self.text
        self._at = to if to < len(self._past) else None
        self.write(self._draft if self._at is None else self._past[to])
        return True

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
