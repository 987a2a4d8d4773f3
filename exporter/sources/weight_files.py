"""Several weight files as one source: a checkpoint's shards, checked against their index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from configs.errors import ConfigError, ToolError
from exporter.sources.pickle_file import PickleFile
from exporter.sources.safetensors_file import SafetensorsFile
from exporter.tensor import TensorSource, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

WeightFile = SafetensorsFile | PickleFile


class Weights(TensorSource, Protocol):
    """A source of tensors, and the files that it reads from."""

    @property
    def files(self) -> Sequence[WeightFile]:
        """What a fingerprint and a manifest are made of."""
        ...


class WeightFiles:
    """A `TensorSource` over one or more files."""

    def __init__(self, files: Sequence[WeightFile]) -> None:
        self.files: Sequence[WeightFile] = tuple(files)
        self._home: dict[str, WeightFile] = {}
        self._specs: dict[str, TensorSpec] = {}
        for file in files:
            for name, spec in file.specs.items():
                if name in self._home:
                    raise ToolError(f"{name} is in two files: {self._home[name].path.name} and {file.path.name}")
                self._home[name] = file
                self._specs[name] = spec

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor, file by file."""
        return self._specs

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as [rows, columns] of the stored type."""
        return self._home[name].read_rows(name, start, stop)

    def read_columns(self, name: str, start: int, stop: int) -> Tensor:
        """Columns [start, stop) of a matrix as [rows, stop - start] of the stored type."""
        return self._home[name].read_columns(name, start, stop)


def open_weight_file(path: Path) -> WeightFile:
    """Open one weight file by its suffix."""
    return SafetensorsFile(path) if path.suffix == ".safetensors" else PickleFile(path)


def open_checkpoint(folder: Path, stems: Sequence[str]) -> WeightFiles:
    """Open a folder's weights: single file or shards with an index, safetensors before bin.

    Args:
        stems: file names without suffix, as `("model", "pytorch_model")`.

    Raises:
        ConfigError: no weights there.
        ToolError: index and files disagree, a shard is missing, truncated or unreadable.
    """
    for suffix in (".safetensors", ".bin"):
        for stem in stems:
            single = folder / f"{stem}{suffix}"
            index = folder / f"{stem}{suffix}.index.json"
            if single.is_file():
                return WeightFiles([open_weight_file(single)])
            if index.is_file():
                return _open_shards(index)
    wanted = " or ".join(f"{stem}{suffix}" for stem in stems for suffix in (".safetensors", ".bin"))
    raise ConfigError(f"{folder} holds no weights: neither {wanted}")


def _open_shards(index: Path) -> WeightFiles:
    try:
        home: dict[str, str] = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(f"{index} is not an index of weights") from error
    names = list(dict.fromkeys(home.values()))
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
            raise ToolError(f"{index} names a file outside its folder: {name!r}")
        if not (index.parent / name).is_file():
            raise ToolError(
                f"{index.parent / name} is missing; {index.name} names it", hint="copy the checkpoint again"
            )
    source = WeightFiles([open_weight_file(index.parent / name) for name in names])
    actual = {name: file.path.name for file in source.files for name in file.specs}
    if actual != home:
        odd = sorted(name for name in actual.keys() | home.keys() if actual.get(name) != home.get(name))
        raise ToolError(f"{index.name} and the files of {index.parent} disagree on {some(odd)}")
    return source


def some(names: Sequence[str], most: int = 6) -> str:
    """A list of names, cut to what a sentence can hold."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
