"""Where two texts part and meet, in pieces that a reader sees: words of Latin script, single characters of Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# A word with its accents, a Tibetan syllable with its vowel signs, blanks, or any one character.
_PIECE = re.compile(r"[A-Za-zÀ-ɏЀ-ӿ0-9_]+|[ༀ-༊ཀ-࿿]+་?|\s+|.", re.DOTALL)
_MOST_PIECES = 3_000
"""Beyond these the comparison, which is quadratic at worst, goes line by line."""

Part = tuple[str, bool]
"""A run of text, and whether only this side has it."""


@dataclass(frozen=True, slots=True)
class Differences:
    """Two texts, each in runs that the other has too and runs that it has not."""

    first: tuple[Part, ...]
    second: tuple[Part, ...]
    same_until: int
    """Characters both begin with."""
    similarity: float
    """Share of both texts' characters that stands in the other too, in the same order; 0..1."""

    @property
    def same(self) -> bool:
        """Whether the texts are the same."""
        return not any(only for _, only in (*self.first, *self.second))


def differences(first: str, second: str) -> Differences:
    """Compare two texts."""
    pieces = [_PIECE.findall(text) for text in (first, second)]
    if max(map(len, pieces)) > _MOST_PIECES:
        pieces = [text.splitlines(keepends=True) for text in (first, second)]
    blocks = SequenceMatcher(None, pieces[0], pieces[1], autojunk=False).get_matching_blocks()
    parts = (
        _parts(pieces[0], [(block.a, block.size) for block in blocks]),
        _parts(pieces[1], [(block.b, block.size) for block in blocks]),
    )
    shared = sum(len(text) for text, only in parts[0] if not only)
    both = len(first) + len(second)
    until = next(
        (at for at, (one, other) in enumerate(zip(first, second)) if one != other), min(len(first), len(second))
    )
    return Differences(parts[0], parts[1], until, 2 * shared / both if both else 1.0)


def _parts(pieces: Sequence[str], shared: Sequence[tuple[int, int]]) -> tuple[Part, ...]:
    """Runs of pieces, in turns shared and not."""
    runs: list[Part] = []
    at = 0
    for begin, size in shared:
        runs += [("".join(pieces[at:begin]), True), ("".join(pieces[begin : begin + size]), False)]
        at = begin + size
    return tuple(run for run in runs if run[0])
