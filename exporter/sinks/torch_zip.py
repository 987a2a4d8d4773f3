"""A `.pth` file as torch.save writes it, made front to back: a zip of stored entries, weights never whole in memory.

torch's reader finds an entry through the zip's directory at the end, so checksums are taken while the bytes pass and
written behind each entry and in the directory.
"""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.sinks.output_file import OutputFile
from exporter.tensor import ELEMENT_BYTES, FileRecord, TensorSpec

_ALIGNMENT = 64
_STREAMED, _UTF8, _VERSION = 8, 0x800, 45
_FIRST_OF_1980 = (1 << 5) | 1
_LIMIT = 0xFFFFFFFF
_STORAGES = {"f32": "FloatStorage", "f16": "HalfStorage", "bf16": "BFloat16Storage"}


@dataclass(slots=True)
class _Entry:
    name: bytes
    size: int
    offset: int = 0
    crc: int = 0
    written: int = field(default=0)

    @property
    def is_large(self) -> bool:
        return self.size >= _LIMIT

    def local_header(self, offset: int) -> bytes:
        """The header before the data; its padding puts the data on a multiple of 64 bytes, as torch does."""
        self.offset = offset
        sizes = (_LIMIT, _LIMIT) if self.is_large else (0, 0)
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if self.is_large else b""
        padding = -(offset + 30 + len(self.name) + len(extra) + 4) % _ALIGNMENT
        extra += struct.pack("<2sH", b"FB", padding) + bytes(padding)
        head = struct.pack(
            "<4s5H3I2H", b"PK\x03\x04", _VERSION, _STREAMED | _UTF8, 0, 0, _FIRST_OF_1980, 0, *sizes,
            len(self.name), len(extra),
        )  # fmt: skip
        return head + self.name + extra

    def descriptor(self) -> bytes:
        """Checksum and sizes, behind the data."""
        return struct.pack("<4sIQQ" if self.is_large else "<4sIII", b"PK\x07\x08", self.crc, self.size, self.size)

    def directory_record(self) -> bytes:
        extra = b""
        if self.is_large:
            extra += struct.pack("<QQ", self.size, self.size)
        if self.offset >= _LIMIT:
            extra += struct.pack("<Q", self.offset)
        if extra:
            extra = struct.pack("<HH", 1, len(extra)) + extra
        size = min(self.size, _LIMIT)
        head = struct.pack(
            "<4s6H3I5H2I", b"PK\x01\x02", _VERSION, _VERSION, _STREAMED | _UTF8, 0, 0, _FIRST_OF_1980, self.crc, size,
            size, len(self.name), len(extra), 0, 0, 0, 0, min(self.offset, _LIMIT),
        )  # fmt: skip
        return head + self.name + extra


class TorchZip:
    """One file of tensors, whose rows arrive in the order of its specs."""

    def __init__(self, path: Path, stem: str, specs: Sequence[TensorSpec]) -> None:
        """Claim the space and write everything before the first tensor.

        Args:
            path: where to write; staged, so not the final place.
            stem: name of the folder inside the zip, as torch takes it from the file.
        """
        small = _small_entries(specs)
        self._entries = _entries(stem, specs, small)
        self._position = 0
        self._next = 0
        self._file = OutputFile(path, _file_size(self._entries))
        for data in small.values():
            self.write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes of the entry whose turn it is; a full one is closed."""
        entry = self._entries[self._next]
        if not entry.written:
            self._put(entry.local_header(self._position))
        self._put(data)
        entry.crc = zlib.crc32(data, entry.crc)
        entry.written += len(data)
        if entry.written == entry.size:
            self._put(entry.descriptor())
            self._next += 1

    def finish(self) -> FileRecord:
        """Write the directory and close."""
        self._put(_directory(self._entries, self._position))
        return self._file.finish()

    def abort(self) -> None:
        """Close after a failure."""
        self._file.abort()

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._position += len(data)


def file_bytes(stem: str, specs: Sequence[TensorSpec]) -> int:
    """Exact size of the file with these tensors."""
    return _file_size(_entries(stem, specs, _small_entries(specs)))


def _small_entries(specs: Sequence[TensorSpec]) -> dict[str, bytes]:
    return {"data.pkl": _pickle(specs), "byteorder": b"little", "version": b"3\n"}


def _entries(stem: str, specs: Sequence[TensorSpec], small: Mapping[str, bytes]) -> list[_Entry]:
    found = [_Entry(f"{stem}/{name}".encode(), len(data)) for name, data in small.items()]
    for number, spec in enumerate(specs):
        found.append(_Entry(f"{stem}/data/{number}".encode(), spec.elements * ELEMENT_BYTES[spec.dtype]))
    return found


def _directory(entries: Sequence[_Entry], start: int) -> bytes:
    records = b"".join(entry.directory_record() for entry in entries)
    count, size = len(entries), len(records)
    end = b""
    if start >= _LIMIT or count >= 0xFFFF:
        end += struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, _VERSION, _VERSION, 0, 0, count, count, size, start)
        end += struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)
    end += struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), size, min(start, _LIMIT), 0
    )
    return records + end


def _file_size(entries: Sequence[_Entry]) -> int:
    position = 0
    for entry in entries:
        position += len(entry.local_header(position)) + entry.size + len(entry.descriptor())
    return position + len(_directory(entries, position))


class _Storage:
    def __init__(self, spec: TensorSpec, key: int) -> None:
        self.spec = spec
        self.key = key


class _Skeleton:
    """Stands in the pickle where torch.save would put a tensor."""

    def __init__(self, spec: TensorSpec, key: int) -> None:
        self._storage = _Storage(spec, key)

    def __reduce__(self) -> tuple[Any, ...]:
        from torch._utils import _rebuild_tensor_v2

        shape = self._storage.spec.shape
        strides = [1]
        for size in reversed(shape[1:]):
            strides.insert(0, strides[0] * size)
        return _rebuild_tensor_v2, (self._storage, 0, shape, tuple(strides), False, OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        import torch

        if not isinstance(obj, _Storage):
            return None
        kind = getattr(torch, _STORAGES[obj.spec.dtype])
        return ("storage", kind, str(obj.key), "cpu", obj.spec.elements)


def _pickle(specs: Sequence[TensorSpec]) -> bytes:
    buffer = io.BytesIO()
    table = {spec.name: _Skeleton(spec, number) for number, spec in enumerate(specs)}
    _Pickler(buffer, protocol=2).dump(table)
    return buffer.getvalue()
