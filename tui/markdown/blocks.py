"""The blocks of a text: headings, paragraphs, lists, quotes, code, tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markdown_it.tree import SyntaxTreeNode
from textual.content import Content

from tui.markdown.inline import CODE_STYLE, DIM_STYLE, inline
from tui.markdown.parser import parse, restored
from tui.markdown.tables import table

_HEADINGS = {"h1": "bold $primary underline", "h2": "bold $primary", "h3": "bold $secondary"}
_OTHER_HEADING = "bold"
_LEAST_WIDTH = 12  # cells; beyond this depth of lists in lists nothing is indented further
_NEWLINE = Content("\n")
_BLANK_LINE = Content("\n\n")


def render(text: str, width: int) -> Content:
    """A text in Markdown as it is shown in `width` cells.

    Paragraphs and code are left to the widget to wrap, so that a selection has no line ends of ours; what stands after
    a mark on its left is wrapped here.
    """
    return join_blocks(blocks(SyntaxTreeNode(parse(text)).children, width))


def join_blocks(contents: Sequence[Content]) -> Content:
    """Blocks below each other, with a blank line between them."""
    return _BLANK_LINE.join([content for content in contents if content])


def blocks(nodes: Sequence[SyntaxTreeNode], width: int) -> list[Content]:
    """One Content for every node."""
    return [_RENDERERS.get(node.type, _unknown)(node, width) for node in nodes]


def _heading(node: SyntaxTreeNode, _: int) -> Content:
    return _inline_of(node, _HEADINGS.get(node.tag, _OTHER_HEADING))


def _paragraph(node: SyntaxTreeNode, _: int) -> Content:
    return _inline_of(node)


def _inline_of(node: SyntaxTreeNode, style: str = "") -> Content:
    return Content("").join([inline(child.token.children, style) for child in node.children if child.token])


def _code(node: SyntaxTreeNode, _: int) -> Content:
    code = restored(node.content).rstrip("\n")
    if node.type == "code_block":
        return Content.styled("\n".join(f"    {line}" for line in code.split("\n")), CODE_STYLE)
    language = restored(node.info).strip().partition(" ")[0]
    return Content.assemble((f"╭╴{language}\n", DIM_STYLE), (code, CODE_STYLE), ("\n╰╴", DIM_STYLE))


def _bullets(node: SyntaxTreeNode, width: int) -> Content:
    return _items(node, width, lambda _: "• ")


def _numbers(node: SyntaxTreeNode, width: int) -> Content:
    return _items(node, width, lambda item: f"{item.info}{item.markup} ")


def _items(node: SyntaxTreeNode, width: int, mark_of: Callable[[SyntaxTreeNode], str]) -> Content:
    marks = [mark_of(item) for item in node.children]
    indent = max(map(len, marks))
    shown = []
    for mark, item in zip(marks, node.children, strict=True):
        inner = width - indent
        body = _NEWLINE.join([content for content in blocks(item.children, inner) if content])
        shown.append(_prefixed(body, Content.styled(mark.rjust(indent), "$primary"), Content(" " * indent), inner))
    return _NEWLINE.join(shown)


def _quote(node: SyntaxTreeNode, width: int) -> Content:
    bar = Content.styled("▎ ", "$primary 70%")
    return _prefixed(join_blocks(blocks(node.children, width - 2)), bar, bar, width - 2)


def _prefixed(body: Content, first: Content, rest: Content, width: int) -> Content:
    """Lines of at most `width` cells, each after its prefix."""
    lines = body.wrap(max(width, _LEAST_WIDTH)) or [Content("")]
    return _NEWLINE.join([(rest if at else first) + line for at, line in enumerate(lines)])


def _rule(_: SyntaxTreeNode, width: int) -> Content:
    return Content.styled("─" * max(min(width, 40), 3), DIM_STYLE)


def _table(node: SyntaxTreeNode, width: int) -> Content:
    rows = [[_inline_of(cell) for cell in row.children] for part in node.children for row in part.children]
    aligned = [
        str(cell.attrs.get("style", "")).removeprefix("text-align:") for cell in node.children[0].children[0].children
    ]
    return table(rows, aligned, width)


def _unknown(node: SyntaxTreeNode, _: int) -> Content:
    return Content(restored(node.content))


_RENDERERS: dict[str, Callable[[SyntaxTreeNode, int], Content]] = {
    "heading": _heading,
    "paragraph": _paragraph,
    "fence": _code,
    "code_block": _code,
    "bullet_list": _bullets,
    "ordered_list": _numbers,
    "blockquote": _quote,
    "hr": _rule,
    "table": _table,
}
