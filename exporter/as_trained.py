"""A base as the quantizer left it when an adapter was trained on it (`merge --as-trained`).

An adapter that was trained on a 4-bit or 8-bit base has learned to make up for that base's rounding, and fits the
original weights less well. The quantized values are computed again here, row chunk by row chunk, from the original.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ConfigError, ToolError
from exporter.sources.derived_weights import DerivedWeights
from exporter.sources.huggingface import EMBEDDINGS, OUTPUT, BaseModel
from exporter.sources.llama_config import read_json
from exporter.sources.weight_files import Weights
from exporter.tensor import TensorSpec, row_chunks, torch_dtype
from exporter.transforms.bitsandbytes_values import BLOCK, block_maxima, int8_values, nf4_values, stored_maxima

if TYPE_CHECKING:
    from torch import Tensor

_RECORD = "training.json"
_TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_KEPT_MAXIMA = 4
"""Tensors whose block maxima are held at once: chunks in flight belong to two or three of them."""


@dataclass(frozen=True, slots=True)
class Quantizer:
    """How bitsandbytes quantized a base for training."""

    bits: int
    double: bool
    compute: str
    """The type that the base was loaded in: weights were rounded to it before they were quantized."""
    on_cpu: bool

    def __str__(self) -> str:
        if self.bits == 8:
            return f"8-bit (LLM.int8, {self.compute})"
        return f"4-bit (NF4, blocks of {BLOCK}{', double quantization' if self.double else ''}, {self.compute})"


def read_quantizer(folder: Path) -> Quantizer | None:
    """How the base of an adapter was quantized, by its training.json; None if it was not, or nothing tells.

    Raises:
        ToolError: it was quantized in a way that is not known here.
    """
    try:
        record = read_json(folder / _RECORD)
    except (OSError, ToolError):  # none, or another program's file of that name
        return None
    table = record.get("quantization")
    if not isinstance(table, dict):
        return None
    compute = _TYPES.get(str(record.get("compute_type", table.get("bnb_4bit_compute_dtype"))))
    bits = 4 if table.get("load_in_4bit") else 8 if table.get("load_in_8bit") else 0
    known = {"load_in_8bit"} if bits == 8 else {
        "load_in_4bit", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant", "bnb_4bit_compute_dtype",
    }  # fmt: skip
    odd = [key for key, value in table.items() if value and key not in known]
    if not bits or odd or compute is None or (bits == 4 and table.get("bnb_4bit_quant_type") != "nf4"):
        raise ToolError(f"{folder / _RECORD} names a quantization that is not known here: {table}")
    return Quantizer(bits, bool(table.get("bnb_4bit_use_double_quant")), compute, record.get("device") == "cpu")


def choose_base(
    base: BaseModel, folders: Sequence[Path], *, as_trained: bool
) -> tuple[BaseModel, Quantizer | None, tuple[str, ...]]:
    """The base to merge adapters onto, what quantized it, and the sentence that says which one it is.

    Raises:
        ConfigError: `as_trained`, but the adapters do not all say that they were trained on one quantized base.
    """
    quantizers = [read_quantizer(folder) for folder in folders]
    if not as_trained:
        return (
            base,
            None,
            tuple(
                f"{folder} was trained on a {quantizer} base and is merged onto the original weights; "
                "--as-trained merges it onto the weights as the quantizer left them"
                for folder, quantizer in zip(folders, quantizers, strict=True)
                if quantizer
            ),
        )
    if not quantizers or len(set(quantizers)) > 1 or quantizers[0] is None:
        found = "; ".join(
            f"{folder}: {quantizer or 'none'}" for folder, quantizer in zip(folders, quantizers, strict=True)
        )
        raise ConfigError(
            "--as-trained is for adapters that were trained on one and the same quantized base, by their training.json "
            f"({found or 'no adapter is given'})"
        )
    note = f"merged onto the base as the quantizer left it for training: {quantizers[0]}"
    return quantized_base(base, quantizers[0]), quantizers[0], (note,)


def quantized_base(base: BaseModel, quantizer: Quantizer) -> BaseModel:
    """A base with the values that bitsandbytes makes of it, in the type that it was trained in."""
    names = {name: kind for kind, name in _TYPES.items()}
    raw = {key: value for key, value in base.raw_config.items() if key != "torch_dtype"}
    specs = {name: replace(spec, dtype=quantizer.compute) for name, spec in base.specs.items()}
    return replace(
        base,
        raw_config={**raw, "dtype": names[quantizer.compute]},
        specs=specs,
        weights=QuantizedWeights(base.weights, specs, quantizer),
    )


class QuantizedWeights(DerivedWeights):
    """A base's weights with what bitsandbytes makes of them; their type is the one the base was trained in."""

    def __init__(self, base: Weights, specs: Mapping[str, TensorSpec], quantizer: Quantizer) -> None:
        super().__init__(base, specs)
        self._quantizer = quantizer
        self._maxima: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as [rows, columns]; those of 8-bit weights are float32, which their values need."""
        rows = self._loaded(name, start, stop)
        if len(self._specs[name].shape) != 2 or name in (EMBEDDINGS, OUTPUT):  # never quantized
            return rows
        if self._quantizer.bits == 8:
            return int8_values(rows)
        return nf4_values(rows, start, *self._block_maxima(name))

    def _loaded(self, name: str, start: int, stop: int) -> Tensor:
        return self._base.read_rows(name, start, stop).to(torch_dtype(self._quantizer.compute))

    def _block_maxima(self, name: str) -> tuple[Tensor, Tensor]:
        """Maxima of a whole tensor's blocks, and as stored: 1/32 of its float32 size, for a few tensors at a time."""
        import torch

        with self._lock:
            if name not in self._maxima:
                spec = self._specs[name]
                chunks = row_chunks(spec, unit=BLOCK // math.gcd(BLOCK, spec.columns))
                maxima = torch.cat([block_maxima(self._loaded(name, *rows)) for rows in chunks])
                double = self._quantizer.double
                stored = stored_maxima(maxima, on_cpu=self._quantizer.on_cpu) if double else maxima
                self._maxima[name] = (maxima, stored)
                if len(self._maxima) > _KEPT_MAXIMA:
                    self._maxima.popitem(last=False)
            return self._maxima[name]
