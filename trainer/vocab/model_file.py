"""tokenizer.model as far as an extension needs it: what kind it is, its pieces, and more pieces at its end.

The file is a protocol buffer, in which a message that is written twice is the sum of both: pieces appended to its bytes
are pieces appended to the model, and everything else stays as it was, byte for byte.

Source: sentencepiece_model.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ConfigError, require

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
"""Types of a piece: text, what stands for the rest, what no text becomes, text never joined with other, a byte."""
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _TYPE = 1, 2, 3
_VOCAB_SIZE, _MODEL_TYPE, _WHITESPACE_IS_SUFFIX = 4, 3, 24
_CHARACTER_MAP, _DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES = 2, 3, 4
_BPE = 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PLACEHOLDER = -1e8
"""Scores below are no scores: the runs of spaces of Llama's vocabulary have -1e9."""


@dataclass(frozen=True, slots=True)
class NewPiece:
    """A piece to append."""

    text: str
    score: float
    type: int = NORMAL


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A SentencePiece BPE model that can be extended."""

    data: bytes
    processor: SentencePieceProcessor
    removes_spaces: bool
    """Whether it takes runs of spaces for one."""
    begins_with_space: bool
    """Whether it puts a space before every text."""
    types: Sequence[int]
    """Of every piece."""

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Open a tokenizer.model.

        Raises:
            ConfigError: SentencePiece cannot read it, or llama.cpp could not do what it does.
        """
        data = path.read_bytes()
        try:
            processor = open_model(data)
            fields = list(_fields(data))
            trainer, normalizer = (_merged(fields, number) for number in (_TRAINER, _NORMALIZER))
        except (RuntimeError, ValueError, IndexError, struct.error) as error:
            raise ConfigError(f"{path} is not a SentencePiece model") from error
        if trainer.get(_MODEL_TYPE, 1) != _BPE:
            raise ConfigError(f"{path} is no BPE model", hint="only those are extended: llama.cpp segments as BPE does")
        if normalizer.get(_CHARACTER_MAP) or trainer.get(_WHITESPACE_IS_SUFFIX):
            raise ConfigError(
                f"{path} rewrites text before it cuts it, which llama.cpp would not", hint="take another base"
            )
        pieces = (dict(_fields(value)) for field, value in fields if field == _PIECES and isinstance(value, bytes))
        return cls(
            data,
            processor,
            removes_spaces=bool(normalizer.get(_REMOVE_EXTRA_WHITESPACES, 1)),
            begins_with_space=bool(normalizer.get(_DUMMY_PREFIX, 1)),
            types=tuple(int(piece.get(_TYPE, NORMAL)) for piece in pieces),
        )

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return int(self.processor.get_piece_size())

    @property
    def lowest_score(self) -> float:
        """The lowest real score of a piece."""
        scores = (self.processor.get_score(number) for number in range(self.pieces))
        return float(min(score for score in scores if score > _PLACEHOLDER))

    def normal_pieces(self) -> dict[str, float]:
        """Score of every piece that text can become by merging."""
        processor = self.processor
        return {
            processor.id_to_piece(number): processor.get_score(number)
            for number in range(self.pieces)
            if not (processor.is_control(number) or processor.is_unknown(number) or processor.is_byte(number))
        }

    def extended(self, pieces: Sequence[NewPiece]) -> bytes:
        """The bytes of this model with pieces appended."""
        appended = b"".join(_delimited(_PIECES, _piece(piece)) for piece in pieces)
        size = _key(_VOCAB_SIZE, _VARINT) + _varint(self.pieces + len(pieces))
        return self.data + appended + _delimited(_TRAINER, size)


def open_model(data: bytes) -> SentencePieceProcessor:
    """Load a model from its bytes; RuntimeError where it is none."""
    sentencepiece = require("sentencepiece", "train")
    processor: SentencePieceProcessor = sentencepiece.SentencePieceProcessor(model_proto=data)
    return processor


def _piece(piece: NewPiece) -> bytes:
    text = _delimited(_TEXT, piece.text.encode("utf-8"))
    score = _key(_SCORE, _FIXED32) + struct.pack("<f", piece.score)
    return text + score + _key(_TYPE, _VARINT) + _varint(piece.type)


def _delimited(field: int, content: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(content)) + content


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _merged(fields: Iterable[tuple[int, int | bytes]], number: int) -> dict[int, int | bytes]:
    """The fields of a message of the model, the later ones over the earlier."""
    found: dict[int, int | bytes] = {}
    for field, value in fields:
        if field == number and isinstance(value, bytes):
            found |= dict(_fields(value))
    return found


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of every field of a message."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield field, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        yield field, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at
