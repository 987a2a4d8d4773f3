"""Meta's own checkpoint layout: names of tensors, how shards cut them, and what `params.json` says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PARAMS = "params.json"

_OUTSIDE = {
    "model.embed_tokens.weight": "tok_embeddings.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "output.weight",
}
_IN_LAYER = {
    "self_attn.q_proj.weight": "attention.wq.weight",
    "self_attn.k_proj.weight": "attention.wk.weight",
    "self_attn.v_proj.weight": "attention.wv.weight",
    "self_attn.o_proj.weight": "attention.wo.weight",
    "mlp.gate_proj.weight": "feed_forward.w1.weight",
    "mlp.down_proj.weight": "feed_forward.w2.weight",
    "mlp.up_proj.weight": "feed_forward.w3.weight",
    "input_layernorm.weight": "attention_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
}
_BY_COLUMNS = ("attention.wo.weight", "feed_forward.w2.weight")
EMBEDDINGS = "tok_embeddings.weight"


def meta_name(name: str) -> str | None:
    """`model.layers.0.self_attn.q_proj.weight` -> `layers.0.attention.wq.weight`; None if Meta has no such tensor."""
    match = re.fullmatch(r"model\.(layers\.\d+\.)(.+)", name)
    if match:
        inner = _IN_LAYER.get(match[2])
        return inner and match[1] + inner
    return _OUTSIDE.get(name)


def cut_axis(name: str, *, embeddings_by_rows: bool) -> int | None:
    """The dimension along which shards divide a tensor (Meta's name); None where each shard holds all of it.

    Args:
        embeddings_by_rows: the embeddings are divided by tokens, as in Llama 3, and not by features.
    """
    if name == EMBEDDINGS:
        return 0 if embeddings_by_rows else 1
    if name.endswith("norm.weight"):
        return None
    return 1 if name.endswith(_BY_COLUMNS) else 0


def feed_forward_size(params: Mapping[str, Any]) -> int:
    """The intermediate size that Meta's code computes.

    Source: `FeedForward.__init__` in meta-llama/llama (llama/model.py).
    """
    size = int(2 * (4 * int(params["dim"])) / 3)
    if params.get("ffn_dim_multiplier") is not None:
        size = int(float(params["ffn_dim_multiplier"]) * size)
    multiple = int(params["multiple_of"])
    return multiple * ((size + multiple - 1) // multiple)


def feed_forward_params(dim: int, intermediate: int) -> dict[str, float]:
    """The `multiple_of` and `ffn_dim_multiplier` that make Meta's code compute this intermediate size."""
    known: list[dict[str, float]] = [
        {"multiple_of": multiple} | ({"ffn_dim_multiplier": factor} if factor else {})
        for factor in (0, 1.3, 1.5, 1.0)
        for multiple in (256, 4096, 1024)
    ]
    for params in known:
        if feed_forward_size({"dim": dim, **params}) == intermediate:
            return params
    multiple = next(size for size in (256, 128, 64, 32, 16, 8, 4, 2, 1) if intermediate % size == 0)
    plain = int(2 * (4 * dim) / 3)
    for digits in range(1, 17):
        factor = round((intermediate - multiple / 2 + (multiple == 1)) / plain, digits)
        params = {"multiple_of": multiple, "ffn_dim_multiplier": factor}
        if feed_forward_size({"dim": dim, **params}) == intermediate:
            return params
    raise AssertionError(f"no multiplier gives {intermediate} from {dim}")
