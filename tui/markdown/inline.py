"""The inside of a paragraph: words and their styles."""

from __future__ import annotations

from markdown_it.token import Token
from textual.content import Content

from tui.markdown.parser import restored

_STYLES = {"strong": "bold", "em": "italic", "s": "strike", "link": "underline"}
CODE_STYLE = "$accent"
DIM_STYLE = "$foreground 60%"


def inline(tokens: list[Token] | None, base: str = "") -> Content:
    """Text with its emphasis. A link is its words and, in brackets, where it points: nothing to click on."""
    parts: list[tuple[str, str]] = []
    styles = [base] if base else []
    links: list[tuple[str, int]] = []
    for token in tokens or []:
        if token.nesting == 1:
            styles.append(_STYLES[token.type.removesuffix("_open")])
            if token.type == "link_open":
                links.append((str(token.attrs.get("href", "")), len(parts)))
        elif token.nesting == -1:
            styles.pop()
            if token.type == "link_close":
                parts += _target(*links.pop(), parts)
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(("\n", ""))
        else:
            style = " ".join((*styles, CODE_STYLE)) if token.type == "code_inline" else " ".join(styles)
            parts.append((restored(token.content), style))
    return Content.assemble(*parts)


def _target(url: str, first: int, parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    words = "".join(text for text, _ in parts[first:])
    return [] if restored(url) in ("", words) else [(f" ({restored(url)})", DIM_STYLE)]
