"""A reply: Markdown that grows, with its thoughts folded and its figures below."""

from __future__ import annotations

from textual.content import Content
from textual.events import Resize

from tui.chats.tree import StoredMessage
from tui.markdown.stream import MarkdownStream
from tui.markdown.thinking import take_apart
from tui.messages import ReplyFigures
from tui.text import visible
from tui.widgets.foot import Foot, foot_of_figures, foot_of_stored
from tui.widgets.message_view import MessageView, version_mark
from tui.words import words

_FRAME_CELLS = 3  # border and padding, see styles.tcss
_LEAST_WIDTH = 20
_QUICK_CHARACTERS = 4_000


class ReplyMessage(MessageView):
    """What the model says, growing as it comes.

    `append` only collects: `flush`, about ten times a second, shows.

    Args:
        width: cells of the conversation; a guess is put right when the widget has its size.
        folded: whether thoughts are folded.
    """

    def __init__(
        self, label: str, message: StoredMessage, *, width: int, version: tuple[int, int] = (1, 1), folded: bool = True
    ) -> None:
        super().__init__(message, classes="reply")
        self._head = Content.assemble((label, "bold $secondary"), *version_mark(version))
        self._text = visible(message.content)
        self._pending: list[str] = []
        self._state = ""
        self._foot: Foot | None = foot_of_stored(message)
        self._folded = folded
        self._width = max(width - _FRAME_CELLS, _LEAST_WIDTH)
        self._answer = MarkdownStream("", self._width)
        self._fed = 0
        self._show()

    @property
    def text(self) -> str:
        """The reply so far."""
        return self._text + "".join(self._pending)

    @property
    def ended(self) -> bool:
        """Whether anything can still come."""
        return self._foot is not None

    @property
    def foot_text(self) -> str:
        """How it ended, in words; empty while it has not."""
        return self._foot.text if self._foot is not None else ""

    @property
    def frames_to_wait(self) -> int:
        """Every how many frames to flush: a long text takes longer to paint, and a model needs the processor too."""
        return 1 + len(self._text) // _QUICK_CHARACTERS

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
        self._close(foot_of_figures(figures, unsaid=not self.text.strip()))

    def fail(self, sentence: str) -> None:
        """Show the rest, and what went wrong."""
        self._close(Foot(visible(sentence), "$error"))

    def fold(self, folded: bool) -> None:
        """Hide the thoughts, or show them."""
        self._folded = folded
        self._show()

    def on_resize(self, event: Resize) -> None:
        if (width := max(self.content_size.width, _LEAST_WIDTH)) != self._width:
            self._width = width
            self._answer, self._fed = MarkdownStream("", width), 0
            self._show()

    def _close(self, foot: Foot) -> None:
        self._text = visible(self.text.rstrip())
        self._pending.clear()
        self._answer, self._fed = MarkdownStream("", self._width), 0  # blanks may have gone
        self._foot = foot
        self._show()

    def _show(self) -> None:
        lines = [self._head]
        changed = None
        if self._text:
            parts = take_apart(self._text)
            if parts.thinking is not None:
                lines.append(self._thoughts(parts.thinking, closed=parts.closed))
            self._answer.append(parts.answer[self._fed :])
            self._fed = len(parts.answer)
            if self._fed:
                lines.append(self._answer.content())
                changed = self._answer.last if self._foot is None else None
        elif self._foot is None:
            lines.append(Content.styled(self._state, "$foreground 60%"))
        if self._foot is not None and self._foot.text:
            lines.append(Content.styled(*self._foot))
        self.show(Content("\n").join(lines), changed)

    def _thoughts(self, thinking: str, *, closed: bool) -> Content:
        if self._folded:
            says = words().thought if closed else words().thinking
            return Content.styled(f"▸ {says.format(characters=len(thinking))}", "italic $foreground 60%")
        return Content.assemble(
            (f"▾ {words().thought_open}\n", "italic $foreground 60%"), (thinking, "$foreground 60%")
        )
