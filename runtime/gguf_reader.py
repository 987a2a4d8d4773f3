"""A cursor over the bytes of a GGUF file's head (little-endian; ggml/docs/gguf.md) that trusts no number in it."""

from __future__ import annotations

import mmap
import struct
from typing import Any

MetaValue = int | float | bool | str
"""A metadata value that is kept; arrays (the vocabulary) are walked over, not read."""

_MAX_KEYS = 10_000
_MAX_STRING_BYTES = 16 << 20
_MAX_NAME_BYTES = 4096
_MAX_ARRAY_ITEMS = 10_000_000

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_UNSIGNED_32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9


class BrokenError(Exception):
    """What is wrong with the file, to be completed with its name."""


class ForeignError(BrokenError):
    """The file is none of this program's: a wrong argument, not a damaged file."""


class GgufReader:
    """Reads on from byte `at`; every method raises BrokenError where the file says something impossible."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def metadata(self, count: int) -> dict[str, MetaValue]:
        """The next `count` keys and values, without the arrays."""
        if count > _MAX_KEYS:
            raise BrokenError(f"is damaged: its header claims {count} keys")
        kept: dict[str, MetaValue] = {}
        seen: set[str] = set()
        for _ in range(count):
            key = self.string(_MAX_NAME_BYTES)
            if key in seen:
                raise BrokenError(f"is damaged: its header has {shown(key)} twice")
            seen.add(key)
            kind: int = self.scalar("<I")
            if key == "general.alignment" and kind != _UNSIGNED_32:
                raise BrokenError("is damaged: its alignment is no 32-bit number")
            value = self._value(kind)
            if value is not None:
                kept[key] = value
        return kept

    def string(self, most: int = _MAX_STRING_BYTES) -> str:
        """A text of at most `most` bytes."""
        length = self._string_length(most)
        at = self.advance(length)
        return self.data[at : at + length].decode("utf-8", "replace")

    def scalar(self, code: str) -> Any:
        """A number, by its code of `struct`."""
        return struct.unpack_from(code, self.data, self.advance(struct.calcsize(code)))[0]

    def advance(self, count: int) -> int:
        """Step over `count` bytes and return where they began."""
        at = self.at
        if at + count > len(self.data):
            raise BrokenError("is truncated: its header ends in the middle")
        self.at = at + count
        return at

    def _value(self, kind: int) -> MetaValue | None:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            self._skip_array(self.scalar("<I"), self.scalar("<Q"))
            return None
        if kind not in _SCALARS:
            raise BrokenError(f"is damaged: its header has a value of unknown type {kind}")
        if kind == _BOOL and self.data[self.at : self.at + 1] not in (b"\0", b"\1"):
            raise BrokenError("is damaged: its header has a truth value that is neither")
        value: MetaValue = self.scalar(_SCALARS[kind])
        return value

    def _skip_array(self, kind: int, count: int) -> None:
        if count > _MAX_ARRAY_ITEMS:
            raise BrokenError(f"is damaged: its header claims an array of {count} items")
        if kind == _STRING:
            for _ in range(count):
                self.advance(self._string_length(_MAX_STRING_BYTES))
        elif kind in _SCALARS:
            self.advance(count * struct.calcsize(_SCALARS[kind]))
        else:  # arrays of arrays too: no model has them, and readers that recurse overflow
            raise BrokenError(f"is damaged: its header has an array of type {kind}")

    def _string_length(self, most: int) -> int:
        length: int = self.scalar("<Q")
        if length > most:
            raise BrokenError(f"is damaged: its header claims a string of {length} bytes")
        return length


def shown(name: str) -> str:
    """A name out of a stranger's file, safe and short enough for a sentence."""
    return ascii(name[:80])
