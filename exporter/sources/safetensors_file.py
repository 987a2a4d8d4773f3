"""One safetensors file: its header, checked against its size before anything else happens, and rows on demand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ToolError
from exporter.sources.positioned import expect_order, read_into
from exporter.tensor import ELEMENT_BYTES, TensorSpec, torch_dtype

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
_HEADER_LIMIT = 100 << 20


class SafetensorsFile:
    """Tensors of one file. No weight is read before it is asked for; torch is imported then."""

    def __init__(self, path: Path) -> None:
        """Read and check the header.

        Raises:
            ToolError: not a safetensors file, truncated, or with tensors that are not f32, f16 or bf16.
        """
        self.path = path
        self.size = path.stat().st_size
        self._file = path.open("rb", buffering=0)
        expect_order(self._file)
        try:
            header, self._data_start = self._read_header()
            self.header_sha256 = hashlib.sha256(header).hexdigest()
            self._specs, self._offsets = self._parse(header)
        except BaseException:
            self._file.close()
            raise

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Every tensor, in file order."""
        return self._specs

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as [rows, columns] of the stored type."""
        import torch

        spec = self._specs[name]
        row_bytes = spec.columns * ELEMENT_BYTES[spec.dtype]
        buffer = torch.empty((stop - start) * row_bytes, dtype=torch.uint8)
        offset = self._data_start + self._offsets[name] + start * row_bytes
        read_into(self._file, self.path, memoryview(buffer.numpy()), offset)
        return buffer.view(torch_dtype(spec.dtype)).view(stop - start, spec.columns)

    def read_columns(self, name: str, start: int, stop: int) -> Tensor:
        """Columns [start, stop) of a matrix as [rows, stop - start] of the stored type: one read for each row."""
        import torch

        spec = self._specs[name]
        size = ELEMENT_BYTES[spec.dtype]
        buffer = torch.empty((spec.rows, (stop - start) * size), dtype=torch.uint8)
        first = self._data_start + self._offsets[name] + start * size
        for row, part in enumerate(buffer.numpy()):
            read_into(self._file, self.path, memoryview(part), first + row * spec.columns * size)
        return buffer.view(torch_dtype(spec.dtype))

    def _read_header(self) -> tuple[bytes, int]:
        length_bytes = self._file.read(8)
        length = int.from_bytes(length_bytes, "little")
        if len(length_bytes) < 8 or not 2 <= length <= _HEADER_LIMIT:
            raise ToolError(f"{self.path} is not a safetensors file")
        if self.size < 8 + length:
            raise ToolError(f"{self.path} is truncated: its header alone is longer than the file", hint="copy it again")
        return self._file.read(length), 8 + length

    def _parse(self, header: bytes) -> tuple[dict[str, TensorSpec], dict[str, int]]:
        try:
            entries = json.loads(header, object_pairs_hook=self._unique)
            entries.pop("__metadata__", None)
            specs = {
                name: TensorSpec(name, tuple(int(size) for size in entry["shape"]), str(entry["dtype"]))
                for name, entry in entries.items()
            }
            ranges = {
                name: (int(entry["data_offsets"][0]), int(entry["data_offsets"][1])) for name, entry in entries.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ToolError(f"{self.path} is not a safetensors file: its header cannot be read") from error
        self._check_size(max((end for _, end in ranges.values()), default=0))
        return {name: self._check(spec, ranges[name]) for name, spec in specs.items()}, {
            name: start for name, (start, _) in ranges.items()
        }

    def _unique(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise ToolError(f"{self.path} names a tensor twice")
        return table

    def _check_size(self, data_bytes: int) -> None:
        expected = self._file.tell() + data_bytes  # the header has been read, up to where the data begins
        if self.size < expected:
            raise ToolError(
                f"{self.path} is truncated: {self.size:,} bytes, its header promises {expected:,}", hint="copy it again"
            )
        if self.size > expected:
            raise ToolError(f"{self.path} has {self.size - expected:,} bytes more than its header promises")

    def _check(self, spec: TensorSpec, span: tuple[int, int]) -> TensorSpec:
        dtype = _DTYPES.get(spec.dtype)
        if dtype is None:
            raise ToolError(
                f"{self.path}: {spec.name} is {spec.dtype}; only F32, F16 and BF16 can be merged",
                hint="a quantized checkpoint must be dequantized first",
            )
        if (
            not spec.shape
            or span[1] - span[0] != spec.elements * ELEMENT_BYTES[dtype]
            or min(span) < 0
            or not spec.elements
        ):
            raise ToolError(f"{self.path}: the header's entry for {spec.name} contradicts itself")
        return TensorSpec(spec.name, spec.shape, dtype)
