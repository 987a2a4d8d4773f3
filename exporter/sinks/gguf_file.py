"""A GGUF file: header, metadata and tensor table first, then every tensor's bytes, padded to 32."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.ggml.types import GGML_NUMBERS
from exporter.sinks.output_file import OutputFile
from exporter.tensor import FileRecord, TensorJob

if TYPE_CHECKING:
    from gguf import GGUFWriter

_ALIGNMENT = 32
_UINT32 = 4
"""enum gguf_type (gguf.h)."""


def header_bytes(writer: GGUFWriter, jobs: Sequence[TensorJob]) -> bytes:
    """Everything before the first tensor's bytes, for a writer that holds the metadata.

    gguf's own writer makes it; only the tensors' bytes, which it wants as whole arrays, are ours to write.
    """
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.gguf_writer import WriterState

    for job in jobs:
        kind = GGMLQuantizationType[job.target.dtype.upper()]
        writer.add_tensor_info(job.target.name, job.target.shape, np.dtype(np.float32), job.nbytes, raw_dtype=kind)
    buffer = io.BytesIO()
    writer.fout = [buffer]
    writer.state = WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return buffer.getvalue() + bytes(-buffer.tell() % _ALIGNMENT)


def header_of_entries(entries: Sequence[bytes], jobs: Sequence[TensorJob]) -> bytes:
    """Everything before the first tensor's bytes, from metadata entries as another file has them."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(jobs), len(entries)), *entries]
    offset = 0
    for job in jobs:
        name, shape = job.target.name.encode(), job.target.shape
        parts += [
            struct.pack("<Q", len(name)), name, struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape)),
            struct.pack("<IQ", GGML_NUMBERS[job.target.dtype], offset),
        ]  # fmt: skip
        offset += job.nbytes + -job.nbytes % _ALIGNMENT
    header = b"".join(parts)
    return header + bytes(-len(header) % _ALIGNMENT)


def number_entry(key: str, number: int) -> bytes:
    """One metadata entry: an unsigned number of 32 bits."""
    return struct.pack("<Q", len(key.encode())) + key.encode() + struct.pack("<II", _UINT32, number)


class GgufSink:
    """Writes one GGUF file."""

    def __init__(self, path: Path, name: str, header: bytes, jobs: Sequence[TensorJob]) -> None:
        """Claim the space and write the header.

        Args:
            path: where to write; staged, so not the final place.
            name: the final file's name, for the record.
        """
        self._name = name
        self._padding = 0
        self._file = OutputFile(path, file_bytes(header, jobs))
        self._file.write(header)

    def begin(self, job: TensorJob) -> None:
        """Pad the tensor before, and start this one."""
        self._file.write(bytes(self._padding))
        self._padding = -job.nbytes % _ALIGNMENT

    def write(self, rows: memoryview) -> None:
        """Append the bytes of the tensor's next rows."""
        self._file.write(rows)

    def finish(self) -> Mapping[str, FileRecord]:
        """Pad the last tensor and close."""
        self._file.write(bytes(self._padding))
        return {self._name: self._file.finish()}

    def abort(self) -> None:
        """Close after a failure."""
        self._file.abort()


def file_bytes(header: bytes, jobs: Sequence[TensorJob]) -> int:
    """Exact size of the file that these make."""
    return len(header) + sum(job.nbytes + -job.nbytes % _ALIGNMENT for job in jobs)
