"""Every tensor's way: what is read, what is done to its rows, how it is encoded, in which order it is written."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.ggml import kernels
from exporter.ggml.mixture import ModelShape, TypeRule, can_be_quantized, choose_types
from exporter.ggml.types import QUANTIZED, tensor_bytes
from exporter.gguf_metadata import rope_factors
from exporter.merge_steps import merge_steps
from exporter.sources.huggingface import BaseModel
from exporter.sources.peft_adapter import Adapter
from exporter.tensor import RowReader, RowTransform, TensorJob, TensorSpec
from exporter.transforms.rotary_rows import interleave_rotary_rows
from exporter.transforms.tensor_names import ROTARY, gguf_name, gguf_order

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Encoding:
    """How weights are stored: the type asked for, the user's own rules, and the roundings on the way."""

    file_type: str
    rules: tuple[TypeRule, ...] = ()
    direct: bool = False
    """From the float32 sum straight to the type. Otherwise as merge, convert and llama-quantize one after another do:
    rounded to the base's type, and to f16 before a quantized one."""


def huggingface_job(
    spec: TensorSpec, dtype: str, base: BaseModel, adapters: Sequence[Adapter], *, direct: bool = False
) -> TensorJob:
    """One tensor of a huggingface folder: its own name and row order."""
    target = TensorSpec(spec.name, spec.shape, dtype)
    return TensorJob(
        target,
        tensor_bytes(target, dtype),
        functools.partial(base.weights.read_rows, spec.name),
        functools.partial(merge_steps, spec.name, adapters, direct=direct),
        kernels.encoder(dtype, tensor_name=spec.name, through_f16=False),
        row_unit=head_rows(spec.name, base),
    )


def gguf_jobs(base: BaseModel, adapters: Sequence[Adapter], encoding: Encoding) -> tuple[TensorJob, ...]:
    """Every tensor under llama.cpp's name, of the types and in the order that its own tools give them."""
    config = base.config
    names = {
        gguf_name(name, architecture=config.gguf_architecture, layers=config.num_hidden_layers): name
        for name in base.specs
    }
    specs = {
        ours: TensorSpec(ours, base.specs[theirs].shape, base.specs[theirs].dtype) for ours, theirs in names.items()
    }
    readers: dict[str, RowReader] = {
        ours: functools.partial(base.weights.read_rows, theirs) for ours, theirs in names.items()
    }
    factors = rope_factors(base)
    if factors is not None:
        specs["rope_freqs.weight"] = TensorSpec("rope_freqs.weight", tuple(factors.shape), "f32")
        readers["rope_freqs.weight"] = functools.partial(_constant_rows, factors)
    shape = ModelShape(
        config.gguf_architecture, config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads
    )
    types = choose_types(specs, encoding.file_type, shape, encoding.rules)
    return tuple(
        _gguf_job(specs[name], types[name], encoding, readers[name], names.get(name, ""), base, adapters)
        for name in _file_order(specs, names, encoding.file_type, base)
    )


def _file_order(specs: Iterable[str], names: Mapping[str, str], file_type: str, base: BaseModel) -> list[str]:
    """llama-quantize sorts by block and name; the converter, which makes the other types, goes file by file."""
    if file_type in QUANTIZED:
        return sorted(specs, key=gguf_order)
    home = {name: number for number, file in enumerate(base.weights.files) for name in file.specs}
    return sorted(specs, key=lambda name: (home.get(names[name], 0), names[name]) if name in names else (-1, name))


def _gguf_job(
    spec: TensorSpec,
    dtype: str,
    encoding: Encoding,
    read: RowReader,
    source: str,
    base: BaseModel,
    adapters: Sequence[Adapter],
) -> TensorJob:
    through_f16 = encoding.file_type in QUANTIZED and not encoding.direct and can_be_quantized(spec)
    return TensorJob(
        TensorSpec(spec.name, spec.shape, dtype),
        tensor_bytes(spec, dtype),
        read,
        functools.partial(gguf_steps, source, base, adapters, direct=encoding.direct),
        kernels.encoder(dtype, tensor_name=spec.name, through_f16=through_f16),
        row_unit=head_rows(source, base),
    )


def gguf_steps(name: str, base: BaseModel, adapters: Sequence[Adapter], *, direct: bool) -> list[RowTransform]:
    """The transforms of a tensor on its way to a GGUF: merged, and rotary rows in llama.cpp's order."""
    steps = merge_steps(name, adapters, direct=direct)
    if base.config.pairs_rotary_rows and ROTARY.search(name):
        steps.append(lambda rows, _first: interleave_rotary_rows(rows, base.config.head_dim))
    return steps


def _constant_rows(values: Tensor, start: int, stop: int) -> Tensor:
    return values[start:stop].view(stop - start, 1)


def head_rows(name: str, base: BaseModel) -> int:
    """Rows that must stay together: those of one head, where heads are reordered."""
    return base.config.head_dim if ROTARY.search(name) else 1
