"""Emphasis that Chinese can use: `**答案：**乙` is bold, which CommonMark's own rule leaves as asterisks.

CommonMark decides by the characters beside a run of asterisks whether it opens or closes, and takes for granted that
words have spaces between them. The amendment of markdown-cjk-friendly is used: punctuation of a script without spaces
does not keep a run from closing, and a character of such a script counts as a space beside punctuation. Tibetan, whose
syllables end in a mark that Unicode calls punctuation, is treated alike.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter

_TIBETAN = range(0x0F00, 0x1000)


def tokenize(state: StateInline, silent: bool) -> bool:
    """Take markdown-it's rule `emphasis`, with the flanks decided here."""
    marker = state.src[state.pos]
    if silent or marker not in "_*":
        return False
    length = _run_length(state.src, state.pos, state.posMax)
    opens, closes = flanks(state.src, state.pos, state.pos + length)
    for _ in range(length):
        state.push("text", "", 0).content = marker
        delimiter = Delimiter(
            marker=ord(marker), length=length, token=len(state.tokens) - 1, end=-1, open=opens, close=closes
        )
        state.delimiters.append(delimiter)
    state.pos += length
    return True


def flanks(text: str, start: int, end: int) -> tuple[bool, bool]:
    """Whether the run of markers `text[start:end]` can open emphasis, and whether it can close it."""
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    left = not after.isspace() and (not _is_spaced_mark(after) or _is_boundary(before))
    right = not before.isspace() and (not _is_spaced_mark(before) or _is_boundary(after))
    if text[start] == "*":
        return left, right
    return left and (not right or _is_mark(before)), right and (not left or _is_mark(after))


def _run_length(text: str, start: int, limit: int) -> int:
    end = start
    while end < limit and text[end] == text[start]:
        end += 1
    return end - start


def _is_boundary(character: str) -> bool:
    return character.isspace() or _is_mark(character) or _is_unspaced(character)


def _is_spaced_mark(character: str) -> bool:
    """Punctuation of a script that has spaces between words."""
    return _is_mark(character) and not _is_unspaced(character)


@lru_cache(4096)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


@lru_cache(4096)
def _is_unspaced(character: str) -> bool:
    """Chinese, Japanese, Korean and Tibetan, their punctuation too."""
    return unicodedata.east_asian_width(character) in "WF" or ord(character) in _TIBETAN
