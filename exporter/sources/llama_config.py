"""A base model's `config.json`: the numbers a Llama is made of, and the tensors it must have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.errors import ConfigError, ToolError

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
"""Architectures that can be exported, and llama.cpp's name for them."""

_QWEN3_HEAD_DIM = 128
"""What transformers takes for a Qwen3 that does not say; all others divide the width by the heads."""


_MOST_LAYERS = 10_000
"""Beyond it a number is damage, and the table of tensors that it promises would fill the memory."""


class RopeScaling(BaseModel):
    """How positions are stretched beyond the context a model was first trained on."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    rope_type: str = "default"
    rope_theta: float = Field(default=10000.0, gt=0)
    factor: float | None = Field(default=None, gt=0)
    original_max_position_embeddings: int | None = Field(default=None, gt=0, lt=1 << 32)
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    extrapolation_factor: float | None = None
    attention_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None


class LlamaConfig(BaseModel):
    """What the exporter needs of `config.json`; defaults are transformers'. The rest of the file passes through."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    architectures: list[str]
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0, le=_MOST_LAYERS)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    max_position_embeddings: int = Field(default=2048, gt=0, lt=1 << 32)
    rms_norm_eps: float = Field(default=1e-6, gt=0)
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    rope: RopeScaling
    sliding_window: int | None = None
    use_sliding_window: bool = True
    """Only Qwen says it; its default there is no."""

    @property
    def attends_to(self) -> int | None:
        """Tokens that a query can look back to, where that is less than the context; None for all."""
        window = self.sliding_window if self.use_sliding_window else None
        return window if window and window < self.max_position_embeddings else None

    @property
    def gguf_architecture(self) -> str:
        """llama.cpp's name of the architecture."""
        return ARCHITECTURES[self.architectures[0]]

    @property
    def pairs_rotary_rows(self) -> bool:
        """Whether llama.cpp wants the rows of q and k in pairs; its other architectures keep Hugging Face's halves."""
        return self.gguf_architecture == "llama"

    @property
    def states_head_dim(self) -> bool:
        """Whether a head's size is one of the architecture's own settings: llama.cpp's converter writes it then."""
        return self.gguf_architecture != "qwen2"

    def tensor_shapes(self, vocab_rows: int) -> dict[str, tuple[int, ...]]:
        """Every tensor the checkpoint must hold (without a tied `lm_head`), and its shape."""
        hidden = (self.hidden_size,)
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab_rows, *hidden)}
        for layer in range(self.num_hidden_layers):
            prefix = f"model.layers.{layer}."
            for name, (out, into) in self._linears().items():
                shapes[f"{prefix}{name}.weight"] = (out, into)
                if self._has_bias(name):
                    shapes[f"{prefix}{name}.bias"] = (out,)
            if self.gguf_architecture == "qwen3":
                shapes[f"{prefix}self_attn.q_norm.weight"] = (self.head_dim,)
                shapes[f"{prefix}self_attn.k_norm.weight"] = (self.head_dim,)
            shapes[f"{prefix}input_layernorm.weight"] = hidden
            shapes[f"{prefix}post_attention_layernorm.weight"] = hidden
        shapes["model.norm.weight"] = hidden
        if not self.tie_word_embeddings:
            shapes["lm_head.weight"] = (vocab_rows, *hidden)
        return shapes

    def _has_bias(self, name: str) -> bool:
        if self.gguf_architecture == "qwen2":
            return name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        return self.attention_bias if name.startswith("self_attn") else self.mlp_bias

    def _linears(self) -> dict[str, tuple[int, int]]:
        hidden, wide = self.hidden_size, self.intermediate_size
        queries, keys = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        return {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (wide, hidden),
            "mlp.up_proj": (wide, hidden),
            "mlp.down_proj": (hidden, wide),
        }


def read_json(path: Path) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ToolError: it is not one.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ToolError(f"{path} is not valid JSON") from error
    if not isinstance(table, dict):
        raise ToolError(f"{path} is not a JSON object")
    return table


def read_config(folder: Path) -> tuple[LlamaConfig, dict[str, Any]]:
    """Read `config.json`: the checked part, and the file as it is.

    Raises:
        ConfigError: there is none, or it is of an architecture that cannot be exported.
        ToolError: it cannot be read, or the model is quantized.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"{folder} has no config.json", hint="a base model is a folder in Hugging Face layout")
    table = read_json(path)
    return parse_config(table, path), table


def parse_config(table: dict[str, Any], path: Path) -> LlamaConfig:
    """Check a configuration.

    Args:
        path: where it was read, for messages.

    Raises:
        ConfigError: of an architecture that cannot be exported.
        ToolError: a number is missing, or the model is quantized.
    """
    _refuse(table, path.parent)
    heads = table.get("num_attention_heads")
    filled = dict(table)
    if filled.get("num_key_value_heads") is None:
        filled["num_key_value_heads"] = heads
    if filled.get("head_dim") is None:
        if table["architectures"][0] == "Qwen3ForCausalLM":
            filled["head_dim"] = _QWEN3_HEAD_DIM
        elif isinstance(heads, int) and heads and isinstance(table.get("hidden_size"), int):
            filled["head_dim"] = table["hidden_size"] // heads
    filled["rope"] = _rope(table)
    if table["architectures"][0].startswith("Qwen"):
        filled.setdefault("use_sliding_window", False)
    try:
        return LlamaConfig.model_validate(filled)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise ToolError(f"{path} is no Llama's: {fields} missing or wrong") from error


def _refuse(table: dict[str, Any], folder: Path) -> None:
    names = table.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else "none named"
    if name not in ARCHITECTURES:
        raise ConfigError(f"{folder} is a {name}; this command can export {', '.join(ARCHITECTURES)}")
    if table.get("quantization_config"):
        raise ToolError(f"{folder} is already quantized", hint="merge into the 16-bit checkpoint it was made from")


def _rope(table: dict[str, Any]) -> dict[str, Any]:
    """`rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling` (before); old files say `type`."""
    scaling = dict(table.get("rope_parameters") or table.get("rope_scaling") or {})
    scaling.setdefault("rope_type", scaling.pop("type", None) or "default")
    if table.get("rope_theta") is not None:
        scaling.setdefault("rope_theta", table["rope_theta"])
    if scaling.get("original_max_position_embeddings") is None:
        scaling["original_max_position_embeddings"] = table.get("original_max_position_embeddings")
    return scaling
