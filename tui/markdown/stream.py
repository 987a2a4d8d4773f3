"""A text that is being written: what is finished is laid out once, only its last block again and again."""

from __future__ import annotations

from markdown_it.tree import SyntaxTreeNode
from textual.content import Content

from tui.markdown.blocks import blocks, join_blocks
from tui.markdown.parser import parse


class MarkdownStream:
    """Grows by `append`; `content` gives what there is to show.

    A block is finished when another one has begun below it. Blocks do not depend on each other in the Markdown that is
    parsed here (there are no link definitions), so what is shown in the end is what `render` makes of the whole.
    """

    def __init__(self, text: str, width: int) -> None:
        self._width = width
        self._finished: list[Content] = []
        self._tail = text
        self.last = Content("")
        """The end of `content` that may still change, and what came since the last time."""

    def append(self, text: str) -> None:
        """Take the next piece, of any length."""
        self._tail += text

    def content(self) -> Content:
        """Everything so far. Costs as much as the last block is long."""
        nodes = SyntaxTreeNode(parse(self._tail)).children
        shown = blocks(nodes, self._width)
        self.last = join_blocks(shown)
        if len(nodes) > 1 and (begin := (nodes[-1].map or (0, 0))[0]):
            self._finished += shown[:-1]
            self._tail = self._tail[_offset(self._tail, begin) :]
            shown = shown[-1:]
        return join_blocks([*self._finished, *shown])


def _offset(text: str, line: int) -> int:
    """Where a line begins, counted from 0."""
    at = 0
    for _ in range(line):
        at = text.index("\n", at) + 1
    return at
