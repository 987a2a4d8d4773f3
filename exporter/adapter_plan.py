"""What a llama.cpp LoRA file will hold: an adapter checked against its base, its tensors, its header.

llama.cpp scales every pair by alpha / rank, with one alpha for the whole file. The alpha written here is the one that
gives the right scale there, rsLoRA's root included; where patterns give a weight another scale, its B carries the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.errors import ToolError
from configs.formats import Formats
from exporter.adapters import open_adapters
from exporter.ggml.kernels import encoder
from exporter.ggml.types import tensor_bytes
from exporter.gguf_metadata import add_formats, new_writer
from exporter.sinks.gguf_file import file_bytes, header_bytes
from exporter.sources.adapter_tensors import LoraPair
from exporter.sources.hub import find_folder
from exporter.sources.huggingface import BaseModel, open_base
from exporter.sources.peft_adapter import Adapter
from exporter.sources.weight_files import some
from exporter.tensor import RowTransform, TensorJob, TensorSpec
from exporter.transforms.rotary_rows import interleave_rotary_rows
from exporter.transforms.tensor_names import ROTARY, gguf_name, gguf_order

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class AdapterPlan:
    """A checked LoRA file: nothing has been written yet."""

    adapter: Adapter
    base: BaseModel
    name: str
    jobs: tuple[TensorJob, ...]
    header: bytes
    notes: tuple[str, ...]

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The one adapter, as plans of merges name theirs."""
        return (self.adapter,)

    @property
    def settings(self) -> dict[str, object]:
        """What decides the bytes besides the inputs."""
        return {"format": "gguf-adapter", "type": "f32", "name": self.name}

    @property
    def weight_bytes(self) -> int:
        """Bytes of the file."""
        return file_bytes(self.header, self.jobs)


def plan_adapter(adapter: str, base: str, *, name: str) -> AdapterPlan:
    """Open an adapter and its base (folders or hub ids) and lay out the LoRA file.

    Raises:
        ConfigError: an argument is wrong.
        ToolError: the adapter is damaged, of another kind or another model's.
    """
    model = open_base(find_folder(base, "base model"))
    opened = open_adapters(model, [(adapter, 1.0)])
    lora = opened.adapters[0]
    _refuse_what_it_cannot_hold(lora, model)
    jobs = _jobs(lora, model, _file_alpha(lora))
    return AdapterPlan(lora, model, name, tuple(jobs), header_bytes(_writer(lora, model, name), jobs), opened.notes)


def _refuse_what_it_cannot_hold(adapter: Adapter, base: BaseModel) -> None:
    """A llama.cpp LoRA file holds pairs of factors for the base's own matrices, and nothing else."""
    found = {
        "DoRA's magnitudes": [name for name, pair in adapter.pairs.items() if pair.magnitude],
        "an output matrix apart from tied embeddings": [name for name in adapter.pairs if name not in base.specs],
        "factors of an embedding": [name for name, pair in adapter.pairs.items() if pair.is_embedding],
        "whole tensors": [name for name, change in adapter.changes.items() if change.full],
        "rows of tokens": [name for name, change in adapter.changes.items() if change.tokens],
        "biases": [name for name, change in adapter.changes.items() if change.bias],
    }
    for what, names in found.items():
        if names:
            raise ToolError(
                f"a llama.cpp LoRA file cannot hold {what}, which {adapter.folder} has for {some(names)}",
                hint="exporter merge writes base and adapter as one model",
            )


def _file_alpha(adapter: Adapter) -> float:
    """The alpha that gives the first pair its scale. (llama.cpp reads an alpha of 0 as "do not scale".)"""
    pair = next((pair for pair in adapter.pairs.values() if pair.scale), next(iter(adapter.pairs.values())))
    return pair.scale * pair.rank or 1.0


def _writer(adapter: Adapter, base: BaseModel, name: str) -> GGUFWriter:
    writer = new_writer(base.config.gguf_architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_name(name)
    writer.add_float32("adapter.lora.alpha", _file_alpha(adapter))
    formats = Formats.from_folder(adapter.folder) or Formats.from_folder(base.folder)
    if formats:
        writer.add_chat_template(formats.prompt.chat_template)
    add_formats(writer, formats)
    return writer


def _jobs(adapter: Adapter, base: BaseModel, alpha: float) -> list[TensorJob]:
    config = base.config
    names = {
        gguf_name(name, architecture=config.gguf_architecture, layers=config.num_hidden_layers): name
        for name in adapter.pairs
    }
    jobs = []
    for ours in sorted(names, key=gguf_order):
        pair = adapter.pairs[names[ours]]
        jobs.append(_job(f"{ours}.lora_a", pair.a_name, adapter, []))
        jobs.append(_job(f"{ours}.lora_b", pair.b_name, adapter, _b_steps(names[ours], pair, base, alpha)))
    return jobs


def _job(name: str, source: str, adapter: Adapter, steps: Sequence[RowTransform]) -> TensorJob:
    target = TensorSpec(name, adapter.weights.specs[source].shape, "f32")
    # One chunk a tensor: a factor is small, and the rows of q's and k's heads stay together.
    return TensorJob(
        target,
        tensor_bytes(target, "f32"),
        functools.partial(adapter.weights.read_rows, source),
        lambda: steps,
        encoder("f32", tensor_name=name, through_f16=False),
        row_unit=target.rows,
    )


def _b_steps(name: str, pair: LoraPair, base: BaseModel, alpha: float) -> list[RowTransform]:
    """The delta is B @ A, so whatever permutes or scales its rows permutes or scales B's."""
    steps: list[RowTransform] = []
    rest = pair.scale / (alpha / pair.rank)
    if rest != 1.0:
        steps.append(lambda rows, _first: _scaled(rows, rest))
    if base.config.pairs_rotary_rows and ROTARY.search(name):
        steps.append(lambda rows, _first: interleave_rotary_rows(rows, base.config.head_dim))
    return steps


def _scaled(rows: Tensor, factor: float) -> Tensor:
    return rows.float() * factor
