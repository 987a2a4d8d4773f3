"""Rotary frequencies by the definitions of each scaling, apart from what the exporter writes into a GGUF."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from configs.errors import ToolError
from exporter.sources.llama_config import RopeScaling

if TYPE_CHECKING:
    from torch import Tensor


def rotary_frequencies(rope: RopeScaling, head_dim: int) -> tuple[Tensor, float]:
    """Angle per position of every pair [head_dim / 2], float64, and the factor on sine and cosine (yarn's; else 1).

    Raises:
        ToolError: a scaling that is not known here.
    """
    import torch

    plain = 1.0 / (rope.rope_theta ** (torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim))
    if rope.rope_type == "default":
        return plain, 1.0
    if rope.rope_type == "linear":
        return plain / (rope.factor or 1.0), 1.0
    if rope.rope_type == "llama3":
        return _llama3(plain, rope), 1.0
    if rope.rope_type == "yarn":
        return _yarn(plain, rope, head_dim)
    raise ToolError(f"rope scaling {rope.rope_type!r} is not known to the reference")


def _llama3(plain: Tensor, rope: RopeScaling) -> Tensor:
    """Long waves are slowed by the whole factor, short ones not at all, those between in proportion."""
    context = rope.original_max_position_embeddings or 8192
    turns = context * plain / (2 * math.pi)
    kept = ((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)).clamp(0.0, 1.0)
    return plain * (kept + (1 - kept) / (rope.factor or 8.0))


def _yarn(plain: Tensor, rope: RopeScaling, head_dim: int) -> tuple[Tensor, float]:
    """Pairs that turn often in the trained context keep their speed, those that turn seldom are slowed."""
    import torch

    factor, context = rope.factor or 1.0, rope.original_max_position_embeddings or 2048

    def pair_with(turns: float) -> float:
        return head_dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(rope.rope_theta))

    low = max(math.floor(pair_with(rope.beta_fast or 32.0)), 0)
    high = min(math.ceil(pair_with(rope.beta_slow or 1.0)), head_dim - 1)
    slowed = ((torch.arange(head_dim // 2, dtype=torch.float64) - low) / max(high - low, 0.001)).clamp(0.0, 1.0)
    scale = rope.attention_factor or (0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0)
    return plain * (1 - slowed + slowed / factor), scale
