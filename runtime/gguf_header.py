"""Reads and checks the head of a GGUF file before llama.cpp sees it.

llama.cpp gives no reason when it refuses a file, and aborts the process on some that it does not refuse. Everything
that can be checked from the header is checked here: magic, version, counts, strings, templates, and that every tensor
is of a known type and lies within the file, over no other. A truncated download is named as such.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ConfigError, ToolError
from runtime.architectures import ARCHITECTURES
from runtime.gguf_reader import BrokenError, ForeignError, GgufReader, MetaValue, shown
from runtime.gguf_tensors import Tensor, read_tensors

_MAX_ALIGNMENT = 4096
_MAX_TEMPLATE_CHARACTERS = 1 << 18
_TEMPLATE_KEYS = ("tokenizer.chat_template", "lora2edge.")
_MAX_CONTEXT = 1 << 27
_MAX_LAYERS = 4096


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the head of a GGUF file says."""

    path: Path
    metadata: dict[str, MetaValue]
    entries: dict[str, Tensor]
    """Every tensor by name."""
    size_bytes: int
    sha256: str
    """Of the header: metadata and tensor list, no weights."""

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, fastest dimension first as the file has it."""
        return {name: tensor.shape for name, tensor in self.entries.items()}

    @property
    def is_f32(self) -> bool:
        """Whether every weight is an f32."""
        return all(tensor.size_bytes == 4 * math.prod(tensor.shape) for tensor in self.entries.values())

    @property
    def is_adapter(self) -> bool:
        return self.metadata.get("general.type") == "adapter"

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def block_count(self) -> int:
        """Number of transformer layers."""
        return self.number("block_count")

    def number(self, key: str) -> int:
        """A whole number under the architecture's name; 0 where there is none."""
        value = self.metadata.get(f"{self.architecture}.{key}", 0)
        return value if isinstance(value, int) else 0


def read_header(path: Path) -> GgufHeader:
    """Read and check the header.

    Raises:
        ConfigError: no such file, a folder, or not a GGUF.
        ToolError: truncated, or saying what no real model says.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="give the path of a .gguf file")
    if not path.exists():
        raise ConfigError(f"no file {path}", hint="give the path of a .gguf file")
    if path.stat().st_size < 24:
        raise ConfigError(f"{path} is not a GGUF file", hint="`exporter merge --format gguf` makes one")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _header(GgufReader(data), path)
        except ForeignError as foreign:
            raise ConfigError(f"{path} {foreign}") from None
        except BrokenError as broken:
            raise ToolError(f"{path} {broken}", hint="copy it again") from None
        except (struct.error, IndexError):
            raise ToolError(f"{path} is truncated: its header ends in the middle", hint="copy it again") from None


def _header(reader: GgufReader, path: Path) -> GgufHeader:
    if reader.data[:4] != b"GGUF":
        raise ForeignError("is not a GGUF file (`exporter merge --format gguf` makes one)")
    reader.advance(4)
    version = reader.scalar("<I")
    if version not in (2, 3):
        raise ForeignError(f"is a GGUF file of version {version}, which this program does not read")
    tensor_count, key_count = reader.scalar("<Q"), reader.scalar("<Q")
    metadata = reader.metadata(key_count)
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise BrokenError(f"is damaged: its alignment is {alignment}")
    tensors = read_tensors(reader, tensor_count, alignment)
    header = GgufHeader(path, metadata, tensors, len(reader.data), hashlib.sha256(reader.data[: reader.at]).hexdigest())
    _check_metadata(header)
    return header


def _check_metadata(header: GgufHeader) -> None:
    for key, value in header.metadata.items():
        if key.startswith(_TEMPLATE_KEYS) and isinstance(value, str) and len(value) > _MAX_TEMPLATE_CHARACTERS:
            raise BrokenError(f"is damaged: its {shown(key)} has {len(value):,} characters")
    if header.metadata.get("split.count", 0) not in (0, 1):
        raise ForeignError("is one part of a model in several files (join them with llama-gguf-split --merge)")
    if header.is_adapter:
        return
    if header.architecture not in ARCHITECTURES:
        raise ForeignError(
            f"is a model of architecture {shown(header.architecture)}, which this program does not run "
            "(it runs Llama, Mistral, Qwen, Gemma, Phi and others that write text by attention alone)"
        )
    if not 0 < header.block_count <= _MAX_LAYERS:
        raise BrokenError(f"is damaged: it has {header.block_count} layers")
    if not 0 < header.number("context_length") <= _MAX_CONTEXT:
        raise BrokenError(f"is damaged: its context is {header.number('context_length')} tokens long")
