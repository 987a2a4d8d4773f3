"""The list of tensors in a GGUF file, and whether the file holds each of them where it says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.gguf_reader import BrokenError, GgufReader, shown

_MAX_TENSORS = 100_000
_MAX_DIMENSIONS = 4
_MAX_NAME_BYTES = 63  # GGML_MAX_NAME, and the zero
_MAX_ELEMENTS = 1 << 62

# Tensor type -> (elements, bytes) of one block; ggml-common.h.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a GGUF file."""

    shape: tuple[int, ...]
    """Fastest dimension first, as the file has it."""
    offset: int
    """From the start of the tensor data."""
    size_bytes: int


def read_tensors(reader: GgufReader, count: int, alignment: int) -> dict[str, Tensor]:
    """Read the list that the cursor stands at, and check it against the file.

    Raises:
        BrokenError: a tensor of impossible shape or type, listed twice, out of line, out of the file, or over another.
    """
    if count > _MAX_TENSORS:
        raise BrokenError(f"is damaged: its header claims {count} tensors")
    tensors: dict[str, Tensor] = {}
    for _ in range(count):
        name = reader.string()
        if len(name.encode()) > _MAX_NAME_BYTES or name in tensors:
            raise BrokenError(f"is damaged: the tensor {shown(name)} is listed twice or its name is too long")
        tensors[name] = _tensor(reader, name, alignment)
    _check_places(tensors, -(-reader.at // alignment) * alignment, len(reader.data))
    return tensors


def _tensor(reader: GgufReader, name: str, alignment: int) -> Tensor:
    dimensions = reader.scalar("<I")
    if not 0 < dimensions <= _MAX_DIMENSIONS:
        raise BrokenError(f"is damaged: the tensor {shown(name)} has {dimensions} dimensions")
    shape = tuple(reader.scalar("<Q") for _ in range(dimensions))
    kind, offset = reader.scalar("<I"), reader.scalar("<Q")
    if kind not in _BLOCKS:
        raise BrokenError(f"is damaged, or newer than this program: the tensor {shown(name)} is of type {kind}")
    elements, block_bytes = _BLOCKS[kind]
    if not 0 < math.prod(shape) < _MAX_ELEMENTS or shape[0] % elements:
        raise BrokenError(f"is damaged: the tensor {shown(name)} has the shape {list(shape)}")
    if offset % alignment:
        raise BrokenError(f"is damaged: the tensor {shown(name)} starts at {offset}, out of line")
    return Tensor(shape, offset, math.prod(shape) // elements * block_bytes)


def _check_places(tensors: dict[str, Tensor], start: int, file_bytes: int) -> None:
    """Every tensor must lie in the file, and none over another."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].offset):
        if tensor.offset < end:
            raise BrokenError(f"is damaged: the tensor {shown(name)} lies over another")
        end = tensor.offset + tensor.size_bytes
        if start + end > file_bytes:
            raise BrokenError(f"is truncated: {shown(name)} ends at byte {start + end:,}, the file has {file_bytes:,}")
