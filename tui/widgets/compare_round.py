"""One question to two models, and their replies side by side."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from tui.chats.tree import StoredMessage
from tui.compare.differences import Differences, Part
from tui.compare.settings import LETTERS
from tui.messages import ReplyFigures
from tui.text import visible
from tui.widgets.foot import Foot
from tui.widgets.reply_message import ReplyMessage
from tui.words import words
from tui.words.comparing import compare_words

_ONLY_HERE = "$text on $warning 30%"


class ComparedReply(ReplyMessage):
    """What one model says; when both have ended, what only it says can be marked."""

    def __init__(self, label: str, message: StoredMessage, *, width: int) -> None:
        self._parts: Sequence[Part] = ()
        self._marked = False
        super().__init__(label, message, width=width)
        self.can_focus = False

    def end(self, figures: ReplyFigures) -> None:
        """Show the rest, how quickly it came, and how it ended where that was not by itself."""
        said = compare_words()
        ended = {"length": said.cut, "cancelled": words().stopped if self.text.strip() else words().stopped_unsaid}
        parts = [words().empty_reply] if figures.finish == "stop" and not self.text.strip() else []
        if figures.tokens:
            parts += [words().speed.format(tokens=figures.tokens, speed=figures.tokens_per_second)]
            parts += [said.first_word.format(seconds=figures.prompt_seconds)]
        if figures.finish in ended:
            parts.append(ended[figures.finish])
        self._close(Foot("   ".join(parts), "$warning" if figures.finish in ended else "$foreground 60%"))

    def compare(self, parts: Sequence[Part]) -> None:
        """Take the runs of the reply, and whether only this model has them."""
        self._parts = parts

    def mark(self, marked: bool) -> None:
        """Show the runs, or the reply as the model meant it."""
        self._marked = marked
        self._show()

    def _show(self) -> None:
        if not self._marked or not self._parts:
            super()._show()
            return
        runs = [(visible(text), _ONLY_HERE if only else "") for text, only in self._parts]
        lines = [self._head, Content.assemble(*runs)]
        if self._foot is not None and self._foot.text:
            lines.append(Content.styled(*self._foot))
        self.show(Content("\n").join(lines))


class CompareRound(Vertical):
    """A question, two replies, and what they have of each other.

    Args:
        width: cells there are for both replies.
    """

    def __init__(self, number: int, question: str, labels: tuple[str, str], *, seed: int | None, width: int) -> None:
        super().__init__(classes="round")
        self.question = question
        self.seed = seed
        self.differences: Differences | None = None
        self.replies = tuple(
            ComparedReply(
                f"{LETTERS[side]}  {labels[side]}",
                StoredMessage(2 * number + side, None, "assistant", "", "writing"),
                width=width // 2,
            )
            for side in (0, 1)
        )
        self._labels = labels
        self._verdict = Static(classes="verdict")

    def compose(self) -> ComposeResult:
        head = (words().you, "bold $primary")
        yield Static(Content.assemble(head, "\n", visible(self.question)), classes="message user")
        with Horizontal(classes="pair"):
            yield from self.replies
        yield self._verdict

    def conclude(self, found: Differences | None, *, marked: bool) -> None:
        """Say where the two part."""
        self.differences = found
        if found is None:
            said = compare_words().nothing_to_compare
        else:
            for reply, parts in zip(self.replies, (found.first, found.second), strict=True):
                reply.compare(parts)
            said = self._said(found)
        seed = "" if self.seed is None else f"   {compare_words().seed.format(seed=self.seed)}"
        self._verdict.update(Content.assemble((said, "bold $accent"), (seed, "$foreground 60%")))
        self.mark(marked)

    def mark(self, marked: bool) -> None:
        """Mark what only one of them says, or show Markdown; the same reply has nothing to mark."""
        differ = self.differences is not None and not self.differences.same
        for reply in self.replies:
            reply.mark(marked and differ)

    def as_markdown(self) -> str:
        """For a file."""
        parts = [f"## {self.question}"]
        for letter, label, reply in zip(LETTERS, self._labels, self.replies, strict=True):
            foot = f"\n\n*{reply.foot_text}*" if reply.foot_text else ""
            parts.append(f"### {letter}: {label}\n\n{reply.text}{foot}")
        if self.differences is not None:
            seed = "" if self.seed is None else f", {compare_words().seed.format(seed=self.seed)}"
            parts.append(f"*{self._said(self.differences)}{seed}*")
        return "\n\n".join(parts) + "\n"

    def _said(self, found: Differences) -> str:
        if found.same:
            return compare_words().same
        said = compare_words().apart if found.same_until else compare_words().apart_at_once
        return said.format(share=found.similarity, characters=found.same_until)
