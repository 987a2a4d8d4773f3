"""Reads and checks the head of a GGUF file before llama.cpp sees it.

llama.cpp gives no reason when it refuses a file, and aborts the process on some that it does not refuse. Everything
that can be checked from the header is checked here: magic, version, counts, strings, and that every tensor lies
within the file, so that a truncated download is named as such.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, ToolError

MetaValue = int | float | bool | str
"""A metadata value that is kept; arrays (the vocabulary) are walked over, not read."""

_MAX_TENSORS = 100_000
_MAX_KEYS = 10_000
_MAX_STRING_BYTES = 16 << 20
_MAX_ARRAY_ITEMS = 10_000_000
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 4096

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9

# Tensor type -> (elements, bytes) of one block; ggml-common.h. A type that is not listed is left to llama.cpp.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the head of a GGUF file says."""

    path: Path
    metadata: dict[str, MetaValue]
    tensors: dict[str, tuple[int, ...]]
    """Shape of every tensor, fastest dimension first as the file has it."""
    size_bytes: int
    sha256: str
    """Of the header: metadata and tensor list, no weights."""

    @property
    def is_adapter(self) -> bool:
        return self.metadata.get("general.type") == "adapter"

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def block_count(self) -> int:
        """Number of transformer layers."""
        return int(self.metadata.get(f"{self.architecture}.block_count", 0))


class _BrokenError(Exception):
    """What is wrong with the file, to be completed with its name."""


class _ForeignError(_BrokenError):
    """The file is none of this program's: a wrong argument, not a damaged file."""


def read_header(path: Path) -> GgufHeader:
    """Read and check the header.

    Raises:
        ConfigError: no such file, a folder, or not a GGUF.
        ToolError: truncated, or with counts that no real model has.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="give the path of a .gguf file")
    if not path.exists():
        raise ConfigError(f"no file {path}", hint="give the path of a .gguf file")
    if path.stat().st_size < 24:
        raise ConfigError(f"{path} is not a GGUF file", hint="`exporter merge --format gguf` makes one")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(data).header(path)
        except _ForeignError as foreign:
            raise ConfigError(f"{path} {foreign}") from None
        except _BrokenError as broken:
            raise ToolError(f"{path} {broken}", hint="copy it again") from None
        except (struct.error, IndexError):
            raise ToolError(f"{path} is truncated: its header ends in the middle", hint="copy it again") from None


class _Reader:
    """A cursor over the bytes of a GGUF file (little-endian; ggml/docs/gguf.md)."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def header(self, path: Path) -> GgufHeader:
        if self._data[:4] != b"GGUF":
            raise _ForeignError("is not a GGUF file (`exporter merge --format gguf` makes one)")
        self._at = 4
        version = self._scalar("<I")
        if version not in (2, 3):
            raise _ForeignError(f"is a GGUF file of version {version}, which this program does not read")
        tensor_count, key_count = self._scalar("<Q"), self._scalar("<Q")
        if tensor_count > _MAX_TENSORS or key_count > _MAX_KEYS:
            raise _BrokenError(f"is damaged: its header claims {tensor_count} tensors and {key_count} keys")
        metadata = self._metadata(key_count)
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
            raise _BrokenError(f"is damaged: its alignment is {alignment}")
        tensors = self._tensors(tensor_count, alignment)
        digest = hashlib.sha256(self._data[: self._at]).hexdigest()
        return GgufHeader(path, metadata, tensors, len(self._data), digest)

    def _metadata(self, count: int) -> dict[str, MetaValue]:
        kept: dict[str, MetaValue] = {}
        for _ in range(count):
            key = self._string()
            if key in kept:
                raise _BrokenError(f"is damaged: its header has {key} twice")
            value = self._value(self._scalar("<I"))
            if value is not None:
                kept[key] = value
        return kept

    def _value(self, kind: int) -> MetaValue | None:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            self._skip_array(self._scalar("<I"), self._scalar("<Q"))
            return None
        if kind not in _SCALARS:
            raise _BrokenError(f"is damaged: its header has a value of unknown type {kind}")
        value: MetaValue = self._scalar(_SCALARS[kind])
        return value

    def _skip_array(self, kind: int, count: int) -> None:
        if count > _MAX_ARRAY_ITEMS:
            raise _BrokenError(f"is damaged: its header claims an array of {count} items")
        if kind == _STRING:
            for _ in range(count):
                self._advance(self._string_length())
        elif kind in _SCALARS:
            self._advance(count * struct.calcsize(_SCALARS[kind]))
        else:
            raise _BrokenError(f"is damaged: its header has an array of type {kind}")

    def _tensors(self, count: int, alignment: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        ends: list[tuple[int, str]] = []
        for _ in range(count):
            name = self._string()
            dimensions = self._scalar("<I")
            if dimensions > _MAX_DIMENSIONS or name in shapes:
                raise _BrokenError(f"is damaged: the tensor {name!r} is listed twice or has {dimensions} dimensions")
            shapes[name] = tuple(self._scalar("<Q") for _ in range(dimensions))
            elements, size = _BLOCKS.get(self._scalar("<I"), (1, 0))
            offset = self._scalar("<Q")
            if offset % alignment:
                raise _BrokenError(f"is damaged: the tensor {name!r} starts at {offset}, out of line")
            ends.append((offset + math.prod(shapes[name]) // elements * size, name))
        start = -(-self._at // alignment) * alignment
        end, name = max(ends, default=(0, ""))
        if start + end > len(self._data):
            raise _BrokenError(f"is truncated: {name} ends at byte {start + end:,}, the file has {len(self._data):,}")
        return shapes

    def _string(self) -> str:
        length = self._string_length()
        at = self._advance(length)
        return self._data[at : at + length].decode("utf-8", "replace")

    def _string_length(self) -> int:
        length: int = self._scalar("<Q")
        if length > _MAX_STRING_BYTES:
            raise _BrokenError(f"is damaged: its header claims a string of {length} bytes")
        return length

    def _scalar(self, code: str) -> Any:
        return struct.unpack_from(code, self._data, self._advance(struct.calcsize(code)))[0]

    def _advance(self, count: int) -> int:
        """Step over `count` bytes and return where they began."""
        at = self._at
        if at + count > len(self._data):
            raise _BrokenError("is truncated: its header ends in the middle")
        self._at = at + count
        return at
