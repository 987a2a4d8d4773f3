"""What adapters do to one tensor on its way: their factors as transforms of its rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from exporter.sources.adapter_tensors import LoraPair
from exporter.sources.peft_adapter import Adapter
from exporter.tensor import RowTransform
from exporter.transforms.merge_lora import (
    BiasShare,
    DoraFactors,
    EmbeddingFactors,
    LoraFactors,
    Share,
    merge_lora,
)

if TYPE_CHECKING:
    from torch import Tensor


def merge_steps(name: str, adapters: Sequence[Adapter], *, direct: bool = False) -> list[RowTransform]:
    """The transforms that fold all adapters into a base tensor; none if no adapter adds to it.

    Args:
        direct: hand on the float32 sum, without rounding it to the base's type.
    """
    shares = [share for adapter in adapters for share in _shares(name, adapter, direct=direct)]
    return [functools.partial(_merge, shares, direct)] if shares else []


def _merge(shares: Sequence[Share], direct: bool, rows: Tensor, first_row: int) -> Tensor:
    return merge_lora(rows, first_row, shares, keep_float32=direct)


def _shares(name: str, adapter: Adapter, *, direct: bool) -> list[Share]:
    change = adapter.changes.get(name)
    found: list[Share] = []
    if change and change.pair:
        found.append(_pair_share(change.pair, adapter, direct=direct))
    if change and change.bias:
        read = functools.partial(_float_rows, adapter, change.bias.key)
        found.append(BiasShare(read, adapter.weight * change.bias.scale))
    return found


def _pair_share(pair: LoraPair, adapter: Adapter, *, direct: bool) -> Share:
    if pair.is_embedding:
        b = _float_rows(adapter, pair.b_name, 0, adapter.weights.specs[pair.b_name].rows)
        read_a = functools.partial(_float_columns, adapter, pair.a_name)
        return EmbeddingFactors(read_a, b, adapter.weight * pair.scale, keep_float32=direct)
    a, read_b = adapter.read_a(pair), functools.partial(adapter.read_b, pair)
    if not pair.magnitude:
        return LoraFactors(a, read_b, adapter.weight * pair.scale)
    read_magnitude = functools.partial(_float_rows, adapter, pair.magnitude)
    return DoraFactors(LoraFactors(a, read_b, pair.scale), read_magnitude, adapter.weight)


def _float_rows(adapter: Adapter, key: str, start: int, stop: int) -> Tensor:
    return adapter.weights.read_rows(key, start, stop).float()


def _float_columns(adapter: Adapter, key: str, start: int, stop: int) -> Tensor:
    return adapter.weights.read_columns(key, start, stop).float()
