"""A base model in Hugging Face's layout or Meta's: configuration, weights and their completeness."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ToolError
from exporter.sources.llama_config import LlamaConfig, read_config
from exporter.sources.meta_pth import is_meta_folder, open_meta
from exporter.sources.weight_files import Weights, open_checkpoint, some
from exporter.tensor import TensorSpec

EMBEDDINGS = "model.embed_tokens.weight"
OUTPUT = "lm_head.weight"

_BUFFERS = re.compile(r"(\.rotary_emb\.inv_freq|\.attention\.bias|\.masked_bias)$")
"""What old checkpoints carry and every loader computes itself."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A checked base model: every tensor that belongs is there, in its shape, and nothing else."""

    folder: Path
    config: LlamaConfig
    raw_config: Mapping[str, Any]
    weights: Weights
    specs: Mapping[str, TensorSpec]
    """The tensors to export, in file order: no rotary buffers, no second copy of tied embeddings."""

    @property
    def name(self) -> str:
        """The folder's name: what a manifest calls this base."""
        return self.folder.resolve().name

    @property
    def vocab_rows(self) -> int:
        """Rows of the embedding matrix."""
        return self.specs[EMBEDDINGS].rows


def _open(folder: Path) -> tuple[LlamaConfig, dict[str, Any], Weights]:
    if is_meta_folder(folder):
        return open_meta(folder)
    config, raw = read_config(folder)
    return config, raw, open_checkpoint(folder, ("model", "pytorch_model"))


def open_base(folder: Path) -> BaseModel:
    """Open and check a base model.

    Raises:
        ConfigError: no base model there, or an architecture that cannot be exported.
        ToolError: damaged, incomplete or quantized.
    """
    config, raw, weights = _open(folder)
    specs = {name: spec for name, spec in weights.specs.items() if not _BUFFERS.search(name)}
    if config.tie_word_embeddings:
        specs.pop(OUTPUT, None)
    if EMBEDDINGS not in specs:
        raise ToolError(f"{folder} lacks {EMBEDDINGS}")
    expected = config.tensor_shapes(specs[EMBEDDINGS].rows)
    missing = [name for name in expected if name not in specs]
    if missing:
        raise ToolError(f"{folder} is incomplete: its config.json promises {some(missing)}")
    unknown = [name for name in specs if name not in expected]
    if unknown:
        raise ToolError(f"{folder} holds tensors that no {config.architectures[0]} has: {some(unknown)}")
    for name, shape in expected.items():
        if specs[name].shape != shape:
            raise ToolError(f"{folder}: {name} is {specs[name].shape}, by config.json it should be {shape}")
    return BaseModel(folder, config, raw, weights, specs)
