"""A model folder made of the base and what was trained of it: every file as the base has it, the trained tensors put in
their places, in the type that the base keeps them in.

Untrained tensors are the base's bytes. One file is in memory at a time, and no parameter that ZeRO-3 has scattered is
asked for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from configs.errors import ToolError
from trainer.adapter import readable_by_all
from trainer.base import weight_files

CONFIG_FILES = ("config.json", "generation_config.json")
INDEX_FILE = "model.safetensors.index.json"


def write_model(base: Path, trained: dict[str, torch.Tensor], folder: Path) -> None:
    """Write config and weights of a model in Hugging Face layout.

    Args:
        base: the folder that was trained on.
        trained: f32 tensors by the base's own names.
        folder: an existing folder.

    Raises:
        ToolError: a trained tensor has no place in the base, or none differs from it: nothing was trained.
    """
    for name in CONFIG_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    files = weight_files(base)
    names = _file_names(len(files))
    left, has_changed = set(trained), False
    places: dict[str, str] = {}
    size = 0
    for source, name in zip(files, names, strict=True):
        tensors = dict(_tensors(source))
        for key in tensors.keys() & trained.keys():
            new = trained[key].to(tensors[key].dtype)
            has_changed = has_changed or not torch.equal(new, tensors[key])
            tensors[key] = new
            left.discard(key)
        save_file(tensors, folder / name, metadata={"format": "pt"})
        readable_by_all(folder / name)
        places |= dict.fromkeys(tensors, name)
        size += sum(tensor.nbytes for tensor in tensors.values())
    if left:
        raise ToolError(f"{base} has no tensor {min(left)}, which was trained")
    if not has_changed:
        raise ToolError("the model is untrained: no weight differs from the base", hint="raise training.learning_rate")
    if len(names) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
        (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _file_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    if path.suffix == ".safetensors":
        yield from load_file(path).items()
        return
    for name, tensor in torch.load(path, map_location="cpu", weights_only=True).items():
        # Tied tensors share their storage in a .bin, which safetensors does not write.
        yield name, tensor.clone().contiguous()
