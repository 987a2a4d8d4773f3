"""Names of tensors: Hugging Face's and llama.cpp's."""

from __future__ import annotations

import functools
import re

from configs.errors import ToolError

ROTARY = re.compile(r"\.self_attn\.([qk])_proj\.(weight|bias)$")
"""The tensors whose rows the two formats order differently."""


@functools.cache
def _name_map(architecture: str, layers: int) -> object:
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture)
    return get_tensor_name_map(arch, layers)


def gguf_name(name: str, *, architecture: str, layers: int) -> str:
    """`model.layers.0.mlp.up_proj.weight` -> `blk.0.ffn_up.weight`.

    Raises:
        ToolError: llama.cpp knows no such tensor.
    """
    found = _name_map(architecture, layers).get_name(name, try_suffixes=(".weight", ".bias"))  # type: ignore[attr-defined]
    if found is None:
        raise ToolError(f"{name} has no place in a GGUF of the architecture {architecture}")
    return str(found)


def gguf_order(name: str) -> tuple[int, str]:
    """Sorting key of llama-quantize's output: tensors outside the blocks first, then block by block, by name."""
    block = re.match(r"blk\.(\d+)\.", name)
    return (int(block[1]) if block else -1, name)
