"""One GGUF file as a source: its header, checked against its size before anything else happens, and rows on demand."""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from configs.errors import ConfigError, ToolError
from exporter.ggml.types import BLOCKS, GGML_NUMBERS, tensor_bytes
from exporter.sources.positioned import expect_order, read_into
from exporter.tensor import ELEMENT_BYTES, TensorSpec, torch_dtype

if TYPE_CHECKING:
    from torch import Tensor

_Item = TypeVar("_Item")

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
"""enum gguf_type (gguf.h)."""

_VERSIONS = (2, 3)
ALIGNMENT = 32
_NAMES = {number: name for name, number in GGML_NUMBERS.items()}


@dataclass(frozen=True, slots=True)
class GgufEntry:
    """One metadata entry."""

    raw: bytes
    """Key, type and value as the file has them."""
    value: str | int | float | bool | None
    """None for arrays."""


class GgufFile:
    """Metadata and tensors of one file. No weight is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        """Read and check the header.

        Raises:
            ConfigError: no GGUF there.
            ToolError: truncated or damaged, or with tensors of types that are not known here.
        """
        if not path.is_file():
            raise ConfigError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
        self.path = path
        self.size = path.stat().st_size
        self._file = path.open("rb", buffering=0)
        expect_order(self._file)
        try:
            if self._file.read(4) != b"GGUF":
                raise ConfigError(f"{path} is not a GGUF file")
            with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                self._parse(_Cursor(path, view))
        except BaseException:
            self._file.close()
            raise

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Every tensor, in file order."""
        return self._specs

    @property
    def entries(self) -> dict[str, GgufEntry]:
        """All metadata by key, in file order."""
        return self._entries

    def value(self, key: str) -> str | int | float | bool | None:
        """One number, truth value or text; None where the key is missing or an array."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as [rows, columns] of the stored type; of a block type as [rows, bytes]."""
        import torch

        spec = self._specs[name]
        row_bytes = tensor_bytes(spec, spec.dtype) // spec.rows
        buffer = torch.empty((stop - start) * row_bytes, dtype=torch.uint8)
        read_into(self._file, self.path, memoryview(buffer.numpy()), self._offsets[name] + start * row_bytes)
        rows = buffer.view(torch_dtype(spec.dtype)) if spec.dtype in ELEMENT_BYTES else buffer
        return rows.view(stop - start, -1)

    def _parse(self, cursor: _Cursor) -> None:
        cursor.skip(4)
        version, tensors, entries = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
        if version not in _VERSIONS:
            raise ToolError(f"{self.path} is of GGUF version {version}; {_VERSIONS} are read here")
        self._entries = _unique(self.path, (cursor.entry() for _ in range(entries)))
        if self.value("general.alignment") not in (None, ALIGNMENT):
            raise ToolError(f"{self.path} is aligned to {self.value('general.alignment')} bytes; only 32 is read here")
        found = _unique(self.path, (self._tensor(cursor) for _ in range(tensors)))
        start = cursor.position + -cursor.position % ALIGNMENT
        self._specs = {name: spec for name, (spec, _) in found.items()}
        self._offsets = {name: start + offset for name, (_, offset) in found.items()}
        self.header_sha256 = hashlib.sha256(cursor.view[: cursor.position]).hexdigest()
        end = max(
            (self._offsets[name] + tensor_bytes(spec, spec.dtype) for name, (spec, _) in found.items()), default=0
        )
        if end > self.size:
            raise ToolError(
                f"{self.path} is truncated: {self.size:,} bytes, its header promises {end:,}", hint="copy it again"
            )

    def _tensor(self, cursor: _Cursor) -> tuple[str, tuple[TensorSpec, int]]:
        name = cursor.text()
        shape = tuple(reversed([cursor.number("Q") for _ in range(cursor.number("I"))]))
        while len(shape) > 1 and shape[0] == 1:  # ggml does not count them as dimensions
            shape = shape[1:]
        number, offset = cursor.number("I"), cursor.number("Q")
        dtype = _NAMES.get(number)
        if dtype is None:
            raise ToolError(f"{self.path}: {name} is of ggml's type {number}, which is not known here")
        spec = TensorSpec(name, shape, dtype)
        if len(shape) not in (1, 2) or not spec.elements or spec.columns % BLOCKS[dtype][0] or offset % ALIGNMENT:
            raise ToolError(f"{self.path}: {name} is no vector or matrix of {dtype}: {shape}")
        return name, (spec, offset)


def _unique(path: Path, pairs: Iterable[tuple[str, _Item]]) -> dict[str, _Item]:
    table: dict[str, _Item] = {}
    for name, item in pairs:
        if name in table:
            raise ToolError(f"{path} names {name} twice")
        table[name] = item
    return table


class _Cursor:
    """A place in a file's header; nothing is read beyond the file's end."""

    def __init__(self, path: Path, view: mmap.mmap) -> None:
        self.view = view
        self.position = 0
        self._path = path

    def skip(self, count: int) -> int:
        """Move on by `count` bytes; returns where they began."""
        start = self.position
        if count > len(self.view) - start:
            raise ToolError(f"{self._path} is truncated: it ends inside its header", hint="copy it again")
        self.position += count
        return start

    def number(self, code: str) -> int:
        """A little-endian number of struct's type `code`."""
        return int(struct.unpack_from(f"<{code}", self.view, self.skip(struct.calcsize(code)))[0])

    def text(self) -> str:
        """A string: its length, then UTF-8."""
        length = self.number("Q")
        start = self.skip(length)
        try:
            return self.view[start : start + length].decode()
        except UnicodeDecodeError:
            raise ToolError(f"{self._path} is damaged: a string in its header is no UTF-8") from None

    def entry(self) -> tuple[str, GgufEntry]:
        """One metadata entry with its key."""
        start = self.position
        key = self.text()
        value = self._value(self.number("I"))
        return key, GgufEntry(self.view[start : self.position], value)

    def _value(self, kind: int) -> str | int | float | bool | None:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            kind, count = self.number("I"), self.number("Q")
            if kind == _STRING:
                for _ in range(count):
                    self.skip(self.number("Q"))
            else:
                self.skip(count * self._size(kind))
            return None
        start = self.skip(self._size(kind))
        value: str | int | float | bool = struct.unpack_from(f"<{_SCALARS[kind]}", self.view, start)[0]
        return value

    def _size(self, kind: int) -> int:
        if kind not in _SCALARS:
            raise ToolError(f"{self._path} is damaged: its header has a value of the unknown type {kind}")
        return struct.calcsize(_SCALARS[kind])
