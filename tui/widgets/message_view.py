"""One message of the conversation: one widget that shows its text literally, however long.

One `Markdown` widget a message would be fifty widgets a message, and freezes long chats; a plain
string would be read as markup. `Content` is neither parsed nor split.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui import words
from tui.messages import ReplyFigures
from tui.text import visible


class UserMessage(Static):
    """What the person said."""

    def __init__(self, text: str) -> None:
        body = Content.assemble((f"{words.YOU}\n", "bold $primary"), visible(text))
        super().__init__(body, classes="message user")


class Note(Static):
    """What the program has to say."""

    def __init__(self, text: str) -> None:
        super().__init__(Content(visible(text)), classes="message note")


class ReplyMessage(Static):
    """What the model says, growing as it comes.

    `append` only collects: `flush`, about ten times a second, shows.
    """

    def __init__(self, label: str) -> None:
        super().__init__(classes="message reply")
        self._label = label
        self._text = ""
        self._pending: list[str] = []
        self._state = ""
        self._foot: tuple[str, str] | None = None
        self._show()

    @property
    def text(self) -> str:
        """The reply so far."""
        return self._text + "".join(self._pending)

    @property
    def ended(self) -> bool:
        """Whether anything can still come."""
        return self._foot is not None

    def append(self, piece: str) -> None:
        """Take the next piece."""
        self._pending.append(piece)

    def wait(self, state: str) -> None:
        """Say what happens before the first piece."""
        if state != self._state and not self.text:
            self._state = state
            self._show()

    def flush(self) -> None:
        """Show what has been collected."""
        if self._pending:
            self._text += visible("".join(self._pending))
            self._pending.clear()
            self._show()

    def end(self, figures: ReplyFigures) -> None:
        """Show the rest, and how it ended."""
        self._close(*_foot(figures, unsaid=not self.text.strip()))

    def fail(self, sentence: str) -> None:
        """Show the rest, and what went wrong."""
        self._close(visible(sentence), "$error")

    def _close(self, foot: str, style: str) -> None:
        self._text = self.text.rstrip()
        self._pending.clear()
        self._text = visible(self._text)
        self._foot = (foot, style)
        self._show()

    def _show(self) -> None:
        parts: list[tuple[str, str]] = [(self._label, "bold $secondary")]
        if self._text:
            parts.append((f"\n{self._text}", ""))
        if self._foot is not None:
            text, style = self._foot
            parts.append((f"\n{text}", style))
        elif not self._text:
            parts.append((f"\n{self._state}", "$foreground 60%"))
        self.update(Content.assemble(*parts))


def _foot(figures: ReplyFigures, *, unsaid: bool) -> tuple[str, str]:
    """The line under a reply, and its colour."""
    if figures.finish == "cancelled":
        return (words.STOPPED_UNSAID if unsaid else words.STOPPED), "$warning"
    if unsaid:
        return words.EMPTY_REPLY, "$foreground 60%"
    if figures.finish == "length":
        return words.CUT.format(tokens=figures.tokens), "$warning"
    if figures.tokens_per_second:
        return words.SPEED.format(tokens=figures.tokens, speed=figures.tokens_per_second), "$foreground 45%"
    return words.TOKENS.format(tokens=figures.tokens), "$foreground 45%"
