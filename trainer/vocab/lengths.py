"""How many tokens texts have with one vocabulary and with another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the same texts before and after; how much shorter is 1 - after / before."""

    sentences: int
    characters: int
    before: int
    after: int
    byte_tokens_before: int
    """Tokens that are single bytes of a character which the vocabulary lacks."""
    byte_tokens_after: int


def measure(texts: Sequence[str], old: SentencePieceProcessor, new: SentencePieceProcessor) -> Lengths:
    """Count the tokens of texts, special ones apart."""
    before, bytes_before = _count(texts, old)
    after, bytes_after = _count(texts, new)
    return Lengths(len(texts), sum(map(len, texts)), before, after, bytes_before, bytes_after)


def _count(texts: Sequence[str], processor: SentencePieceProcessor) -> tuple[int, int]:
    tokens = of_bytes = 0
    for text in texts:
        ids = processor.encode(text)
        tokens += len(ids)
        of_bytes += sum(map(processor.is_byte, ids))
    return tokens, of_bytes
