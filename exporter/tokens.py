"""Entries of a vocabulary, between the tokenizer's files and a GGUF's token table."""

from __future__ import annotations

from dataclasses import dataclass

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""enum llama_token_type."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of a SentencePiece model."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True, slots=True)
class AddedToken:
    """One token that the tokenizer's configuration adds to the model's, or redefines."""

    id: int
    text: str
    special: bool | None
    """None where the source (added_tokens.json) does not say."""
