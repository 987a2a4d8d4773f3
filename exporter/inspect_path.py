"""What is in a GGUF, a model folder or an adapter folder. Nothing is loaded but headers; no torch but for pth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError, ToolError, require
from exporter import manifest
from exporter.meta_layout import PARAMS
from exporter.sources.llama_config import read_json
from exporter.sources.meta_pth import is_meta_folder, open_meta
from exporter.sources.weight_files import Weights, open_checkpoint
from exporter.tensor import ELEMENT_BYTES

if TYPE_CHECKING:
    from gguf import GGUFReader

_LONG_ARRAY = 16


def inspect_path(path: Path) -> dict[str, Any]:
    """Describe a model.

    Returns:
        path, kind, bytes, manifest ("none", "matches", "differs"), metadata and tensors.

    Raises:
        ConfigError: there is nothing there, or nothing of ours.
        ToolError: it is damaged.
    """
    if path.is_file():
        return _inspect_gguf(path)
    if not path.is_dir():
        raise ConfigError(f"{path} does not exist")
    for config, stems, kind in (
        ("adapter_config.json", ("adapter_model",), "adapter folder"),
        ("config.json", ("model", "pytorch_model"), "huggingface folder"),
    ):
        if (path / config).is_file():
            return _inspect_folder(path, kind, path / config, open_checkpoint(path, stems))
    if is_meta_folder(path):
        return _inspect_folder(path, "pth folder", path / PARAMS, open_meta(path)[2])
    raise ConfigError(f"{path} is neither a model folder nor an adapter folder", hint="no config.json there")


def _inspect_folder(path: Path, kind: str, config: Path, weights: Weights) -> dict[str, Any]:
    tensors = [
        {
            "name": spec.name,
            "type": spec.dtype,
            "shape": list(spec.shape),
            "bytes": spec.elements * ELEMENT_BYTES[spec.dtype],
        }
        for spec in weights.specs.values()
    ]
    return {
        "path": str(path),
        "kind": kind,
        "bytes": sum(file.size for file in weights.files),
        "manifest": check_manifest(path, is_folder=True),
        "metadata": read_json(config),
        "tensors": tensors,
    }


def _inspect_gguf(path: Path) -> dict[str, Any]:
    reader = open_gguf(path)
    kind = reader.get_field("general.type")
    return {
        "path": str(path),
        "kind": f"GGUF {kind.contents()}" if kind else "GGUF",
        "bytes": path.stat().st_size,
        "manifest": check_manifest(path, is_folder=False),
        "metadata": {name: _value(value) for name, value in gguf_metadata(reader, path).items()},
        "tensors": [
            {
                "name": tensor.name,
                "type": tensor.tensor_type.name.lower(),
                "shape": [int(size) for size in reversed(tensor.shape)],
                "bytes": int(tensor.n_bytes),
            }
            for tensor in reader.tensors
        ],
    }


def open_gguf(path: Path) -> GGUFReader:
    """Read a GGUF's header.

    Raises:
        ConfigError: the file is no GGUF.
        ToolError: it is shorter than its header promises.
    """
    gguf = require("gguf", "convert")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ConfigError(f"{path} is not a GGUF file")
    try:
        reader: GGUFReader = gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError, MemoryError) as error:
        raise ToolError(f"{path} is a damaged or truncated GGUF file") from error
    end = max((int(tensor.data_offset + tensor.n_bytes) for tensor in reader.tensors), default=0)
    if end > path.stat().st_size:
        raise ToolError(f"{path} is truncated: {path.stat().st_size:,} bytes, its header promises {end:,}")
    return reader


def gguf_metadata(reader: GGUFReader, path: Path) -> dict[str, Any]:
    """Every key of a GGUF and its value.

    Raises:
        ToolError: a text among them is damaged.
    """
    try:
        return {name: field.contents() for name, field in reader.fields.items() if "." in name}
    except (ValueError, IndexError, KeyError) as error:
        raise ToolError(f"{path} is a damaged or truncated GGUF file") from error


def check_manifest(path: Path, *, is_folder: bool) -> str:
    """`none`, `matches`, or `differs` where a file is missing or its hash is another than the manifest's."""
    place = manifest.manifest_path(path, is_folder=is_folder)
    if not place.exists():
        return "none"
    table = manifest.read_manifest(place)
    return "matches" if table and not manifest.changed_files(path, table) else "differs"


def _value(value: object) -> object:
    """A metadata value that JSON and a terminal can hold: long arrays (the vocabulary) become their length."""
    if isinstance(value, list) and len(value) > _LONG_ARRAY:
        return f"[{len(value):,} entries]"
    return value
