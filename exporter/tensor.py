"""What the pipeline is made of: tensors by name, shape and type; where rows come from and where bytes go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ELEMENT_BYTES = {"f32": 4, "f16": 2, "bf16": 2}
"""Bytes of one element of a plain type. Everything else is a ggml block type (`exporter.ggml.types`)."""

CHUNK_BYTES = 1 << 20
"""Bytes of float32 in one chunk of rows: small buffers stay in the cache (0.6 ns a weight; 9 for whole tensors)."""

LEAST_ROWS = 64
"""Rows in a chunk at least. Below about 32 rows BLAS sums in another order, and the merge loses bit identity."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor's name, shape and type; the first dimension is its rows."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def rows(self) -> int:
        """Number of rows; a vector has one element in each."""
        return self.shape[0]

    @property
    def columns(self) -> int:
        """Elements in one row."""
        return self.elements // self.rows

    @property
    def elements(self) -> int:
        """Number of weights."""
        product = 1
        for size in self.shape:
            product *= size
        return product


class TensorSource(Protocol):
    """A checkpoint that gives rows on demand. Reading is safe from several threads."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor in it, in file order."""
        ...

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as a tensor [rows, columns] of the stored type, not shared with anything."""
        ...


RowReader = Callable[[int, int], "Tensor"]
"""(start, stop) -> rows [stop - start, columns]."""

RowTransform = Callable[["Tensor", int], "Tensor"]
"""(rows, first row) -> rows of the same shape."""

Encoder = Callable[["Tensor"], memoryview]
"""Rows -> their bytes in the target's type."""


@dataclass(frozen=True, slots=True)
class TensorJob:
    """One tensor's way from source to sink."""

    target: TensorSpec
    nbytes: int
    read: RowReader
    transforms: Callable[[], Sequence[RowTransform]]
    """Called when the tensor's turn comes: what a transform holds (a LoRA factor) lives no longer than needed."""
    encode: Encoder
    row_unit: int = 1
    """Chunks are cut at multiples of this many rows: the rows of one attention head, where heads are permuted."""


class TensorSink(Protocol):
    """A file format: takes every tensor of a plan in order, as the bytes of consecutive rows."""

    def begin(self, job: TensorJob) -> None:
        """Start a tensor."""
        ...

    def write(self, rows: memoryview) -> None:
        """Append the bytes of its next rows."""
        ...

    def finish(self) -> Mapping[str, FileRecord]:
        """Close everything; returns what was written, by file name."""
        ...

    def abort(self) -> None:
        """Close everything after a failure; the caller removes the files."""
        ...


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and SHA-256 of a written file."""

    size: int
    sha256: str


def row_chunks(spec: TensorSpec, *, unit: int = 1, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, int]]:
    """Cut a tensor into row ranges of about `chunk_bytes` of float32.

    Every range but the last is a multiple of `unit` rows and no shorter than `LEAST_ROWS`; a shorter tail joins
    the range before it.
    """
    least = max(LEAST_ROWS, chunk_bytes // (4 * spec.columns))
    step = -(-least // unit) * unit
    shortest = -(-LEAST_ROWS // unit) * unit
    start = 0
    while start < spec.rows:
        stop = start + step
        if spec.rows - stop < shortest:
            stop = spec.rows
        yield start, stop
        start = stop


def torch_dtype(name: str) -> torch.dtype:
    """`f32`, `f16` or `bf16` as torch's type."""
    import torch

    return {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[name]
