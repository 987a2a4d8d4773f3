"""A model folder written anew with some of its tensors replaced: file by file, a few megabytes at a time."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError, ToolError
from trainer.base import check_safetensors, weight_files

if TYPE_CHECKING:
    import torch

INDEX_FILE = "model.safetensors.index.json"
COPIED = (
    "generation_config.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "prompt_format.toml",
    "LICENSE*",
    "USE_POLICY*",
)
"""What goes along with the weights. A tokenizer.json does not: it holds the vocabulary of these weights alone."""
WRITTEN = ("config.json", "model.safetensors", "model-*.safetensors", INDEX_FILE, *COPIED)
"""Names of everything that `write_folder` may write."""

_CHUNK_BYTES = 1 << 24
_TORCH_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a weight file."""

    file: Path
    dtype: str
    """In the words of safetensors: F32, BF16, …"""
    shape: tuple[int, ...]
    start: int
    """Place of its bytes in a safetensors file; 0 in another."""
    nbytes: int


class Weights:
    """The tensors of a model folder, where they lie."""

    def __init__(self, folder: Path) -> None:
        """Read the headers.

        Raises:
            ConfigError: there are no weights, or a shard is missing.
            ToolError: a file is damaged.
        """
        self.files: dict[Path, dict[str, Stored]] = {}
        self._pickled: dict[Path, dict[str, torch.Tensor]] = {}
        for path in weight_files(folder):
            if path.suffix == ".safetensors":
                check_safetensors(path)
                self.files[path] = _read_header(path)
            else:
                self._pickled[path] = _load_pickle(path)
                self.files[path] = {name: _stored(path, tensor) for name, tensor in self._pickled[path].items()}

    def __iter__(self) -> Iterator[tuple[str, Stored]]:
        for tensors in self.files.values():
            yield from tensors.items()

    def open(self, name: str) -> torch.Tensor:
        """A tensor whose values are read from the file when they are used."""
        import numpy as np
        import torch

        stored = next(stored for key, stored in self if key == name)
        if stored.file in self._pickled:
            return self._pickled[stored.file][name]
        # Copy on write: torch warns of memory that it may not write to.
        raw = np.memmap(stored.file, dtype=np.uint8, mode="c", offset=stored.start, shape=(stored.nbytes,))
        return torch.from_numpy(raw).view(torch_type(stored.dtype)).view(stored.shape)

    def chunks(self, name: str, stored: Stored) -> Iterator[bytes]:
        """The tensor's bytes, some megabytes at a time."""
        if stored.file in self._pickled:
            yield from tensor_chunks(self._pickled[stored.file][name])
            return
        with stored.file.open("rb") as file:
            file.seek(stored.start)
            left = stored.nbytes
            while left:
                piece = file.read(min(left, _CHUNK_BYTES))
                if not piece:
                    raise ToolError(f"{stored.file} became shorter while it was read", hint="copy it again")
                left -= len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class Replacement:
    """A tensor in place of another, written in the type of that one."""

    shape: tuple[int, ...]
    parts: Iterable[torch.Tensor]
    """It, or its rows, one lot after another; used once."""


def torch_type(dtype: str) -> torch.dtype:
    """torch's type for a name of safetensors."""
    import torch

    found: torch.dtype = getattr(torch, _TORCH_NAMES[dtype])
    return found


def tensor_chunks(tensor: torch.Tensor) -> Iterator[bytes]:
    """The bytes of a tensor, some megabytes at a time."""
    import torch

    flat = tensor.reshape(-1)
    step = max(1, _CHUNK_BYTES // flat.element_size())
    for start in range(0, len(flat), step):
        yield flat[start : start + step].contiguous().view(torch.uint8).numpy().tobytes()


def write_folder(
    folder: Path, base: Path, weights: Weights, replaced: Mapping[str, Replacement], config: Mapping[str, Any]
) -> None:
    """Write a model folder: the base's tensors but for the replaced ones, its tokenizer, and the configuration.

    Args:
        folder: exists already.
        config: what config.json says other than the base's.
    """
    names = dict(zip(weights.files, _file_names(len(weights.files)), strict=True))
    home: dict[str, str] = {}
    total = 0
    for path, tensors in weights.files.items():
        entries = [(name, _changed(stored, replaced.get(name))) for name, stored in tensors.items()]
        with (folder / names[path]).open("wb") as file:
            file.write(_header(entries))
            for name, stored in tensors.items():
                for chunk in _chunks_of(name, stored, weights, replaced.get(name)):
                    file.write(chunk)
        check_safetensors(folder / names[path])  # a replacement may have been cut short
        home |= dict.fromkeys(tensors, names[path])
        total += sum(stored.nbytes for _, stored in entries)
    if len(names) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": home}
        _write_json(folder / INDEX_FILE, index)
    for pattern in COPIED:
        for path in base.glob(pattern):
            if path.is_file() and not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)
    before = json.loads((base / "config.json").read_text(encoding="utf-8"))
    _write_json(folder / "config.json", {**before, **config})


def _chunks_of(name: str, stored: Stored, weights: Weights, replacement: Replacement | None) -> Iterator[bytes]:
    if replacement is None:
        return weights.chunks(name, stored)
    kind = torch_type(stored.dtype)
    return (chunk for rows in replacement.parts for chunk in tensor_chunks(rows.to(kind)))


def _changed(stored: Stored, replacement: Replacement | None) -> Stored:
    if replacement is None:
        return stored
    size = math.prod(replacement.shape) * torch_type(stored.dtype).itemsize
    return Stored(stored.file, stored.dtype, replacement.shape, 0, size)


def _header(entries: list[tuple[str, Stored]]) -> bytes:
    """Length and JSON of a safetensors header."""
    described: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, stored in entries:
        described[name] = {
            "dtype": stored.dtype, "shape": list(stored.shape), "data_offsets": [at, at + stored.nbytes]
        }  # fmt: skip
        at += stored.nbytes
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _file_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]


def _read_header(path: Path) -> dict[str, Stored]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        if entry["dtype"] not in _TORCH_NAMES:
            raise ConfigError(f"{path}: {name} is {entry['dtype']}", hint="a base in f32, f16 or bf16 is needed")
        start, end = entry["data_offsets"]
        found[name] = Stored(path, entry["dtype"], tuple(entry["shape"]), 8 + length + start, end - start)
    # In the order of the bytes, which need not be that of the names.
    return dict(sorted(found.items(), key=lambda item: item[1].start))


def _load_pickle(path: Path) -> dict[str, torch.Tensor]:
    import pickle

    import torch

    try:
        # Mapped, and without running any code from it.
        loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        return {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, torch.Tensor)}
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, AttributeError) as error:
        raise ToolError(f"{path} is damaged or holds more than tensors", hint="copy it again") from error


def _stored(path: Path, tensor: torch.Tensor) -> Stored:
    names = {word: name for name, word in _TORCH_NAMES.items()}
    dtype = names[str(tensor.dtype).removeprefix("torch.")]
    return Stored(path, dtype, tuple(tensor.shape), 0, tensor.numel() * tensor.element_size())


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")
