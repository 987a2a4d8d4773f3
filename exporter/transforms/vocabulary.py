"""A vocabulary as llama.cpp stores it: token texts, scores and types, one for every embedding row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.tokens import CONTROL, NORMAL, UNUSED, USER_DEFINED, AddedToken, Piece

_PAD_SCORE = -10000.0
_ADDED_SCORE = -1000.0
_SPACE = "\u2581"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Columns of the GGUF's token table."""

    tokens: list[bytes]
    scores: list[float]
    kinds: list[int]


def build_vocabulary(pieces: Sequence[Piece], added: Sequence[AddedToken], rows: int) -> Vocabulary:
    """Fill `rows` slots: padding, then the model's pieces, then added tokens over both.

    Pieces and added tokens beyond the last row are left out, as the converter does; callers say so.

    Source: `_create_vocab_sentencepiece` in llama.cpp's converter.
    """
    table = Vocabulary([f"[PAD{i}]".encode() for i in range(rows)], [_PAD_SCORE] * rows, [UNUSED] * rows)
    for number, piece in enumerate(pieces[:rows]):
        _put(table, number, piece.text, piece.score, piece.kind)
    for token in added:
        if token.id >= rows:
            continue
        if token.special or (token.special is not None and looks_special(token.text)):
            _put(table, token.id, token.text, _ADDED_SCORE, CONTROL)
        else:
            text = token.text if token.special is None else token.text.replace(_SPACE, " ")
            _put(table, token.id, text, _ADDED_SCORE, USER_DEFINED)
    return table


def build_bpe_vocabulary(vocabulary: Mapping[str, int], added: Sequence[AddedToken], rows: int) -> Vocabulary:
    """Fill `rows` slots of a byte-level vocabulary, whose scores llama.cpp does not read: it has the merges.

    Every id is below `rows`. Source: `get_vocab_base` in llama.cpp's converter.
    """
    table = Vocabulary([f"[PAD{i}]".encode() for i in range(rows)], [0.0] * rows, [UNUSED] * rows)
    for text, number in vocabulary.items():
        _put(table, number, text, 0.0, NORMAL)
    for token in added:
        special = token.special or looks_special(token.text)
        text = token.text if special else token.text.replace(_SPACE, " ")
        _put(table, token.id, text, 0.0, CONTROL if special else USER_DEFINED)
    return table


def _put(table: Vocabulary, number: int, text: str, score: float, kind: int) -> None:
    table.tokens[number], table.scores[number], table.kinds[number] = text.encode(), score, kind


def looks_special(text: str) -> bool:
    """Whether a token that is not marked as special surely is one, by the converter's list."""
    return (
        text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<\uff5c") and text.endswith("\uff5c>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )
