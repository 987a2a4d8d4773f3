"""What a model looks like in Meta's layout: whether it fits, its `params.json`, its tensors and how they are cut."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from configs.errors import ConfigError, ToolError
from exporter.ggml import kernels
from exporter.ggml.types import tensor_bytes
from exporter.jobs import gguf_steps, head_rows
from exporter.meta_layout import cut_axis, feed_forward_params, meta_name
from exporter.sources.huggingface import EMBEDDINGS, OUTPUT, BaseModel
from exporter.sources.llama_config import LlamaConfig
from exporter.sources.peft_adapter import Adapter
from exporter.tensor import TensorJob, TensorSpec


def pth_jobs(base: BaseModel, adapters: Sequence[Adapter], dtype: str, *, direct: bool) -> tuple[TensorJob, ...]:
    """Every tensor under Meta's name, embeddings first, then layer by layer; tied embeddings are written twice.

    Args:
        dtype: f32, f16 or bf16; empty for each tensor's own.
    """
    names = [*base.config.tensor_shapes(base.vocab_rows)]
    if OUTPUT not in names:
        names.append(OUTPUT)
    return tuple(_job(name, base, adapters, dtype, direct=direct) for name in names)


def _job(name: str, base: BaseModel, adapters: Sequence[Adapter], dtype: str, *, direct: bool) -> TensorJob:
    theirs = meta_name(name)
    assert theirs is not None
    source = name if name in base.specs else EMBEDDINGS
    spec = base.specs[source]
    target = TensorSpec(theirs, spec.shape, dtype or spec.dtype)
    return TensorJob(
        target,
        tensor_bytes(target, target.dtype),
        functools.partial(base.weights.read_rows, source),
        functools.partial(
            gguf_steps, source, base, adapters, direct=direct
        ),  # Meta pairs rotary rows as llama.cpp does
        kernels.encoder(target.dtype, tensor_name=theirs, through_f16=False),
        row_unit=head_rows(source, base),
    )


def cut_axes(jobs: Sequence[TensorJob], *, embeddings_by_rows: bool) -> list[int | None]:
    """The dimension that shards divide, for each job."""
    return [cut_axis(job.target.name, embeddings_by_rows=embeddings_by_rows) for job in jobs]


def check_fits(base: BaseModel, shards: int) -> None:
    """Refuse what Meta's layout cannot hold.

    Raises:
        ToolError: another architecture, biases, or a rope scaling that Meta's code does not have.
        ConfigError: the model cannot be divided by so many shards.
    """
    config = base.config
    reason = _obstacle(config)
    if reason:
        raise ToolError(f"{base.folder} cannot be written as pth: {reason}", hint="--format huggingface or gguf can")
    for what, size in (
        ("attention heads", config.num_attention_heads), ("key-value heads", config.num_key_value_heads),
        ("feed-forward rows", config.intermediate_size), ("features", config.hidden_size),
    ):  # fmt: skip
        if size % shards:
            raise ConfigError(f"--shards {shards} does not divide the {size} {what} of {base.folder}")


def _obstacle(config: LlamaConfig) -> str:
    """Why Meta's code could not run the model; empty if it can."""
    if config.gguf_architecture != "llama":
        return f"Meta's layout has no {config.architectures[0]}"
    if config.attention_bias or config.mlp_bias:
        return "it has biases"
    if config.head_dim * config.num_attention_heads != config.hidden_size:
        return "its heads do not add up to its width"
    rope = config.rope
    llama3 = (rope.low_freq_factor, rope.high_freq_factor, rope.original_max_position_embeddings) == (1.0, 4.0, 8192)
    if rope.rope_type not in ("default", "llama3") or (rope.rope_type == "llama3" and not llama3):
        return f"Meta's code has no {rope.rope_type} rope scaling with its numbers"
    return ""


def params_table(base: BaseModel) -> dict[str, Any]:
    """`params.json`; what is the default of the first LLaMA is left out, since its code takes no other keys."""
    config = base.config
    params: dict[str, Any] = {
        "dim": config.hidden_size,
        **feed_forward_params(config.hidden_size, config.intermediate_size),
        "n_heads": config.num_attention_heads,
        "n_layers": config.num_hidden_layers,
        "norm_eps": config.rms_norm_eps,
        "vocab_size": base.vocab_rows,
    }
    if config.num_key_value_heads != config.num_attention_heads:
        params["n_kv_heads"] = config.num_key_value_heads
    if config.rope.rope_theta != 10_000.0:
        params["rope_theta"] = config.rope.rope_theta
    if config.rope.rope_type == "llama3":
        params["use_scaled_rope"] = True
        if config.rope.factor != 8.0:
            params["rope_scaling_factor"] = config.rope.factor
    return params
