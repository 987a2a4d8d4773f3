"""A GGUF's metadata: every key that llama.cpp's own converter writes for these architectures, and ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ToolError
from configs.formats import Formats
from exporter.ggml.types import FILE_TYPES, QUANTIZATION_VERSION, QUANTIZED
from exporter.gguf_tokenizer import add_tokenizer
from exporter.sources.huggingface import BaseModel
from exporter.sources.llama_config import RopeScaling, read_json
from exporter.sources.tokenizer_files import TokenizerFiles

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from torch import Tensor


_LARGEST_SETTING = 1 << 31


def model_writer(
    base: BaseModel, tokenizer: TokenizerFiles, formats: Formats | None, *, name: str, file_type: str, parameters: int
) -> GGUFWriter:
    """A writer that holds a model's whole metadata.

    Args:
        name: `general.name`.
        parameters: number of weights, for `general.size_label`.

    Raises:
        ToolError: the tokenizer or the rope scaling cannot be expressed in a GGUF.
    """
    writer = new_writer(base.config.gguf_architecture)
    writer.add_type("model")
    _add_sampling(writer, base.folder)
    writer.add_name(name)
    _add_size_label(writer, parameters)
    _add_hyperparameters(writer, base)
    if file_type not in QUANTIZED:
        writer.add_file_type(FILE_TYPES[file_type])
    if base.config.gguf_architecture == "llama":
        writer.add_vocab_size(base.vocab_rows)
        writer.add_rope_dimension_count(base.config.head_dim)
    if file_type not in QUANTIZED:
        writer.add_quantization_version(QUANTIZATION_VERSION)
    add_tokenizer(writer, base, tokenizer, formats)
    add_formats(writer, formats)
    if file_type in QUANTIZED:  # llama-quantize sets these two anew, which moves them to the end
        writer.add_quantization_version(QUANTIZATION_VERSION)
        writer.add_file_type(FILE_TYPES[file_type])
    return writer


def new_writer(architecture: str) -> GGUFWriter:
    """gguf's writer, without a file."""
    from gguf import GGUFWriter

    return GGUFWriter(None, architecture)


def add_formats(writer: GGUFWriter, formats: Formats | None) -> None:
    """The formats the model was trained on: keys of our own, which every other program passes over."""
    for key, text in (formats.gguf_keys() if formats else {}).items():
        writer.add_string(key, text)


def _add_sampling(writer: GGUFWriter, folder: Path) -> None:
    path = folder / "generation_config.json"
    table: Mapping[str, Any] = read_json(path) if path.is_file() else {}
    ways = {
        "top_k": writer.add_sampling_top_k,
        "top_p": writer.add_sampling_top_p,
        "min_p": writer.add_sampling_min_p,
        "temperature": writer.add_sampling_temp,
        "repetition_penalty": writer.add_sampling_penalty_repeat,
    }
    for key, add in ways.items():
        value = table.get(key)
        if not isinstance(value, int | float):
            continue
        if not math.isfinite(value) or abs(value) >= _LARGEST_SETTING:
            raise ToolError(f"{path}: {key} is {value}, which no sampler takes")
        add(int(value) if key == "top_k" else value)


def _add_size_label(writer: GGUFWriter, parameters: int) -> None:
    from gguf import size_label

    writer.add_size_label(size_label(parameters, parameters, 0, 0))


def _add_hyperparameters(writer: GGUFWriter, base: BaseModel) -> None:
    config = base.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    _add_rope(writer, config.rope, base.folder)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if config.states_head_dim:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)


def _add_rope(writer: GGUFWriter, rope: RopeScaling, folder: Path) -> None:
    from gguf import RopeScalingType

    if rope.rope_type == "linear" and rope.factor is not None:
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope.factor)
    elif rope.rope_type == "yarn" and rope.factor is not None and rope.original_max_position_embeddings:
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope.factor)
        writer.add_rope_scaling_orig_ctx_len(rope.original_max_position_embeddings)
        _add_yarn(writer, rope)
    elif rope.rope_type not in ("default", "llama3"):  # llama3 is a tensor, not a key: rope_factors
        raise ToolError(f"{folder}: rope scaling {rope.rope_type!r} cannot be written to a GGUF")
    writer.add_rope_freq_base(rope.rope_theta)


def _add_yarn(writer: GGUFWriter, rope: RopeScaling) -> None:
    ways = (
        (rope.extrapolation_factor, writer.add_rope_scaling_yarn_ext_factor),
        (rope.attention_factor, writer.add_rope_scaling_yarn_attn_factor),
        (rope.beta_fast, writer.add_rope_scaling_yarn_beta_fast),
        (rope.beta_slow, writer.add_rope_scaling_yarn_beta_slow),
    )
    for value, add in ways:
        if value is not None:
            add(value)


def rope_factors(base: BaseModel) -> Tensor | None:
    """The tensor `rope_freqs.weight` [head_dim / 2] that carries llama3's rope scaling; None for any other.

    Source: `generate_extra_tensors` in llama.cpp's converter (conversion/llama.py).
    """
    import torch

    rope = base.config.rope
    if rope.rope_type != "llama3":
        return None
    factor, context = rope.factor or 8.0, rope.original_max_position_embeddings or 8192
    dim = base.config.head_dim
    frequencies = 1.0 / (rope.rope_theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    factors: list[Any] = []
    for frequency in frequencies:
        wavelength = 2 * math.pi / frequency
        if wavelength < context / rope.high_freq_factor:
            factors.append(1)
        elif wavelength > context / rope.low_freq_factor:
            factors.append(factor)
        else:
            smooth = (context / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(factors, dtype=torch.float32)
