"""What the user asked `exporter merge` for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from configs.errors import ConfigError
from exporter.ggml.types import EXPORT_TYPES
from exporter.tensor import ELEMENT_BYTES

Format = Literal["huggingface", "pth", "gguf"]


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What the user asked `exporter merge` for."""

    base: str
    adapters: tuple[tuple[str, float], ...]
    format: Format
    type: str
    """Empty: q4_0 for gguf, the base's for the others."""
    output: Path
    name: str = ""
    threads: int = 0
    overwrite: bool = False
    tensor_types: tuple[str, ...] = ()
    """`REGEX=TYPE`, for gguf: types of one's own for tensors, before all rules."""
    direct: bool = False
    """Without the roundings that merging, converting and quantizing one after another would make."""
    shards: int = 0
    """Files to divide a pth checkpoint into; 0 for one."""
    as_trained: bool = False
    """Onto the base as the quantizer left it when the adapters were trained."""


def check_type(request: MergeRequest) -> None:
    """Refuse types and options that the format does not have.

    Raises:
        ConfigError: one of them.
    """
    known = EXPORT_TYPES if request.format == "gguf" else tuple(ELEMENT_BYTES)
    if request.type and request.type not in known:
        raise ConfigError(f"--type {request.type} is none of {request.format}'s: {', '.join(known)}")
    if request.tensor_types and request.format != "gguf":
        raise ConfigError(f"--tensor-type is for --format gguf; a {request.format} folder is of one type")
    if request.shards and request.format != "pth":
        raise ConfigError(f"--shards is for --format pth; {request.format} has its own rules")
