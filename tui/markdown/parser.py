"""The Markdown that is understood: what helps reading, and nothing that would swallow or change a text.

HTML, entities, images and link definitions are text: a model's `<s>` and `&amp;` are to be seen as they are.
"""

from __future__ import annotations

from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.escape import escape
from markdown_it.token import Token

from tui.markdown import emphasis

# The ideographic space that begins a Chinese paragraph: markdown-it would strip it with the other blanks.
_IDEOGRAPHIC_SPACE = "\u3000"
_KEPT_SPACE = "\ufdd0"  # a noncharacter: no text holds it

_LITERAL = ["autolink", "entity", "html_block", "html_inline", "image", "reference"]
_ESCAPABLE = "*_`#~|"


def parse(text: str) -> list[Token]:
    """The block tokens of a text; `restored` gives their texts back as they were."""
    return _parser().parse(text.replace(_IDEOGRAPHIC_SPACE, _KEPT_SPACE))


def restored(text: str) -> str:
    """A token's text as it stood in the source."""
    return text.replace(_KEPT_SPACE, _IDEOGRAPHIC_SPACE)


@lru_cache(1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable(_LITERAL)
    parser.inline.ruler.at("emphasis", emphasis.tokenize)
    parser.inline.ruler.at("escape", _escape)
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # shown as text, whatever it is
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    return parser


def _escape(state: StateInline, silent: bool) -> bool:
    r"""Obey a backslash before Markdown's own marks only: `\(x\)` and `C:\[new]` keep theirs."""
    following = state.src[state.pos + 1 : state.pos + 2]
    return bool(following) and following in _ESCAPABLE and escape(state, silent)
