"""A checkpoint in Meta's layout (`consolidated.NN.pth`, `params.json`), read as if it were Hugging Face's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError, ToolError
from exporter.meta_layout import EMBEDDINGS, PARAMS, cut_axis, meta_name
from exporter.sources.llama_config import LlamaConfig, parse_config, read_json
from exporter.sources.meta_params import config_from_params
from exporter.sources.pickle_file import PickleFile
from exporter.sources.weight_files import WeightFile, some
from exporter.tensor import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

_SHARD = re.compile(r"consolidated\.(\d+)\.pth")
_ROTARY = re.compile(r"\.self_attn\.[qk]_proj\.weight$")
_BUFFERS = {"rope.freqs"}


def is_meta_folder(folder: Path) -> bool:
    """Whether the folder holds a model in Meta's layout, and none in Hugging Face's."""
    return (folder / PARAMS).is_file() and not (folder / "config.json").is_file()


class MetaWeights:
    """Shards joined into whole tensors, under Hugging Face's names and in its order of rows."""

    def __init__(self, files: Sequence[PickleFile], config: LlamaConfig, *, embeddings_by_rows: bool) -> None:
        """Join the shards' tables.

        Raises:
            ToolError: shards that do not belong together.
        """
        self.files: Sequence[WeightFile] = tuple(files)
        self._head = config.head_dim
        self._axes: dict[str, int | None] = {}
        self._names: dict[str, str] = {}
        self._joined: dict[str, TensorSpec] = {}
        rows = (
            sum(file.specs[EMBEDDINGS].rows for file in files)
            if embeddings_by_rows
            else files[0].specs[EMBEDDINGS].rows
        )
        for name in config.tensor_shapes(rows):
            theirs = meta_name(name)
            if theirs is None:
                raise ToolError(f"{files[0].path.parent}: {name} has no place in Meta's layout")
            self._names[name] = theirs
            self._axes[name] = cut_axis(theirs, embeddings_by_rows=embeddings_by_rows)
            self._joined[name] = self._join(name, theirs)
        self._check_strangers()

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor, embeddings first, then layer by layer."""
        return self._joined

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as [rows, columns] of the stored type; q and k in Hugging Face's order."""
        if not _ROTARY.search(name):
            return self._read(name, start, stop)
        head = self._head
        first, last = start // head * head, -(-stop // head) * head
        return self._read(name, first, last)[_pairs_to_halves(start, stop, head) - first]

    def _read(self, name: str, start: int, stop: int) -> Tensor:
        import torch

        theirs, axis = self._names[name], self._axes[name]
        if axis is None:
            return self.files[0].read_rows(theirs, start, stop)
        if axis == 1:
            return torch.cat([file.read_rows(theirs, start, stop) for file in self.files], dim=1)
        parts = []
        for file in self.files:
            rows = file.specs[theirs].rows
            if start < rows and stop > 0:
                parts.append(file.read_rows(theirs, max(start, 0), min(stop, rows)))
            start, stop = start - rows, stop - rows
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _join(self, name: str, theirs: str) -> TensorSpec:
        missing = [file.path.name for file in self.files if theirs not in file.specs]
        if missing:
            raise ToolError(f"{self.files[0].path.parent} is incomplete: {theirs} is not in {some(missing)}")
        parts = [file.specs[theirs] for file in self.files]
        axis = self._axes[name]
        fixed = {
            (spec.dtype, len(spec.shape), *(size for i, size in enumerate(spec.shape) if i != axis)) for spec in parts
        }
        if len(fixed) > 1 or (axis is not None and len(parts[0].shape) != 2):
            raise ToolError(f"{self.files[0].path.parent}: the shards hold different kinds of {theirs}")
        shape = list(parts[0].shape)
        if axis is not None:
            shape[axis] = sum(spec.shape[axis] for spec in parts)
        return TensorSpec(name, tuple(shape), parts[0].dtype)

    def _check_strangers(self) -> None:
        known = {*self._names.values(), *_BUFFERS}
        strangers = sorted({name for file in self.files for name in file.specs} - known)
        if strangers:
            raise ToolError(f"{self.files[0].path.parent} holds tensors that no Llama has: {some(strangers)}")


def _pairs_to_halves(start: int, stop: int, head: int) -> Tensor:
    """For every row of Hugging Face's order, which row of Meta's it is: row i of a half was row 2i or 2i + 1."""
    import torch

    rows = torch.arange(start, stop)
    inside = rows % head
    return rows - inside + 2 * (inside % (head // 2)) + inside // (head // 2)


def open_meta(folder: Path) -> tuple[LlamaConfig, dict[str, Any], MetaWeights]:
    """Open a folder in Meta's layout: the checked configuration, the same as a `config.json`, and the weights.

    Raises:
        ConfigError: there are no shards.
        ToolError: damaged, incomplete, or shards of different models.
    """
    files = [PickleFile(path) for path in _shards(folder)]
    params = read_json(folder / PARAMS)
    for name in (EMBEDDINGS, "layers.0.feed_forward.w1.weight"):
        if any(name not in file.specs or len(file.specs[name].shape) != 2 for file in files):
            raise ToolError(f"{folder} is incomplete: {name} is not in every shard")
    # Llama 3 divides the embeddings by tokens, the others by features: then a shard's rows are narrower than the model.
    by_rows = len(files) > 1 and files[0].specs[EMBEDDINGS].shape[1] == params.get("dim")
    rows = [file.specs[EMBEDDINGS].rows for file in files]
    first = files[0].specs[EMBEDDINGS]
    raw = config_from_params(
        params, folder / PARAMS,
        intermediate_size=sum(file.specs["layers.0.feed_forward.w1.weight"].rows for file in files),
        vocab_rows=sum(rows) if by_rows else rows[0],
        dtype={"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[first.dtype],
    )  # fmt: skip
    config = parse_config(raw, folder / PARAMS)
    return config, raw, MetaWeights(files, config, embeddings_by_rows=by_rows)


def _shards(folder: Path) -> list[Path]:
    found = {int(match[1]): path for path in folder.iterdir() if (match := _SHARD.fullmatch(path.name))}
    if not found:
        raise ConfigError(f"{folder} has params.json and no consolidated.00.pth", hint="copy the shards beside it")
    missing = [f"consolidated.{number:02d}.pth" for number in range(max(found) + 1) if number not in found]
    if missing:
        raise ToolError(f"{folder} is incomplete: {some(missing)} missing", hint="copy the checkpoint again")
    return [found[number] for number in sorted(found)]
