"""Meta's `params.json` as the `config.json` that the same model has in Hugging Face layout."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.errors import ToolError

_log = logging.getLogger(__name__)

_NEEDED = {"dim": int, "n_layers": int, "n_heads": int, "norm_eps": float}
_LLAMA31_WIDTHS = (4096, 8192, 16384)
_LLAMA3_THETA, _CODELLAMA_THETA = 500_000.0, 1_000_000.0


def config_from_params(
    params: Mapping[str, Any], path: Path, *, intermediate_size: int, vocab_rows: int, dtype: str
) -> dict[str, Any]:
    """A `config.json`'s table.

    Args:
        params: the parsed `params.json`.
        path: its path, for messages.
        intermediate_size: rows of w1, all shards together.
        vocab_rows: rows of the embeddings.
        dtype: torch's name of the weights' type.

    Raises:
        ToolError: a number is missing, or the rope scaling is not stated and cannot be known.
    """
    for name, kind in _NEEDED.items():
        if not isinstance(params.get(name), int if kind is int else (int, float)) or not params[name]:
            raise ToolError(f"{path} has no {name}", hint="copy params.json of the same model")
    theta = float(params.get("rope_theta") or 10_000.0)
    scaled = bool(params.get("use_scaled_rope"))
    context = _context(params, theta, scaled=scaled)
    _log.warning("%s does not say how long the context is: %s assumed", path, f"{context:,}")
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": params["dim"],
        "intermediate_size": intermediate_size,
        "num_hidden_layers": params["n_layers"],
        "num_attention_heads": params["n_heads"],
        "num_key_value_heads": params.get("n_kv_heads") or params["n_heads"],
        "rms_norm_eps": params["norm_eps"],
        "max_position_embeddings": context,
        "rope_theta": theta,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "vocab_size": vocab_rows,
        "torch_dtype": dtype,
    }
    if scaled:
        config["rope_scaling"] = {
            "rope_type": "llama3", "factor": _factor(params, path), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }  # fmt: skip
    return config


def _context(params: Mapping[str, Any], theta: float, *, scaled: bool) -> int:
    """The context that the models with these marks were trained on: params.json does not say."""
    if scaled:
        return 131_072
    if theta == _LLAMA3_THETA:
        return 8192
    if theta == _CODELLAMA_THETA:
        return 16_384
    return 2048 if params["norm_eps"] == 1e-6 else 4096


def _factor(params: Mapping[str, Any], path: Path) -> float:
    """8 for Llama 3.1; Llama 3.2 has 32, and its params.json does not say so."""
    stated = params.get("rope_scaling_factor")
    if stated is None and params["dim"] not in _LLAMA31_WIDTHS:
        raise ToolError(
            f"{path} scales rope by a factor that it does not state",
            hint="add rope_scaling_factor to it: 8 for Llama 3.1, 32 for Llama 3.2",
        )
    return float(stated or 8.0)
