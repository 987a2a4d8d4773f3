"""An export as it lies on disk: its tensors by name, read by rows, whatever the format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from configs.errors import ConfigError, ToolError
from exporter.ggml.kernels import plain_bytes
from exporter.inspect_path import gguf_metadata, open_gguf
from exporter.meta_layout import PARAMS
from exporter.sources.llama_config import read_json
from exporter.sources.meta_pth import is_meta_folder, open_meta
from exporter.sources.weight_files import Weights, open_checkpoint
from exporter.tensor import TensorSpec


@dataclass(frozen=True, slots=True)
class WrittenFolder:
    """A huggingface folder, or Meta's layout read as one."""

    path: Path
    format: Literal["huggingface", "pth"]
    weights: Weights
    """Under Hugging Face's names and in its row order; the shards of a pth folder put together."""
    keys: Mapping[str, Any]
    """`config.json`, or `params.json`."""

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Its tensors."""
        return self.weights.specs

    def read(self, name: str, start: int, stop: int) -> memoryview:
        """The bytes of rows [start, stop)."""
        return plain_bytes(self.weights.read_rows(name, start, stop))


@dataclass(frozen=True, slots=True)
class WrittenGguf:
    """A GGUF file."""

    path: Path
    specs: Mapping[str, TensorSpec]
    keys: Mapping[str, Any]
    """Metadata, arrays and all."""
    places: Mapping[str, tuple[int, int]]
    """Offset and size of every tensor."""

    @property
    def is_adapter(self) -> bool:
        """Whether it holds an adapter alone."""
        return self.keys.get("general.type") == "adapter"

    def read(self, name: str, start: int, stop: int) -> memoryview:
        """The bytes of rows [start, stop)."""
        offset, size = self.places[name]
        row_bytes = size // self.specs[name].rows
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset + start * row_bytes)
            return memoryview(file.read((stop - start) * row_bytes))


Written = WrittenFolder | WrittenGguf


def open_written(path: Path) -> Written:
    """Open an export.

    Raises:
        ConfigError: there is nothing there, or nothing that this command writes.
        ToolError: it is damaged.
    """
    if path.is_file():
        return read_gguf(path)
    if not path.is_dir():
        raise ConfigError(f"{path} does not exist")
    if is_meta_folder(path):
        return WrittenFolder(path, "pth", open_meta(path)[2], read_json(path / PARAMS))
    if not (path / "config.json").is_file():
        raise ConfigError(
            f"{path} is no exported model", hint="a GGUF file, or a folder with config.json or params.json"
        )
    try:
        weights = open_checkpoint(path, ("model", "pytorch_model"))
    except ConfigError as error:  # a model folder without weights is no wrong argument, it is a lost export
        raise ToolError(str(error)) from error
    return WrittenFolder(path, "huggingface", weights, read_json(path / "config.json"))


def read_gguf(path: Path) -> WrittenGguf:
    """Open a GGUF.

    Raises:
        ConfigError: the file is no GGUF.
        ToolError: it is damaged, or names a tensor twice.
    """
    reader = open_gguf(path)
    specs, places = {}, {}
    for tensor in reader.tensors:
        shape = tuple(int(size) for size in reversed(tensor.shape))
        dtype = tensor.tensor_type.name
        specs[tensor.name] = TensorSpec(tensor.name, shape, dtype.lower() if dtype in ("F32", "F16", "BF16") else dtype)
        places[tensor.name] = (int(tensor.data_offset), int(tensor.n_bytes))
    if len(specs) != len(reader.tensors):
        raise ToolError(f"{path} names a tensor twice")
    return WrittenGguf(path, specs, gguf_metadata(reader, path), places)
