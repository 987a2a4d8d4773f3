"""A PEFT adapter folder: every tensor accounted for, or a refusal that names what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ToolError
from exporter.sources.adapter_accounts import account
from exporter.sources.adapter_config import AdapterConfig, read_adapter_config
from exporter.sources.adapter_tensors import Change, LoraPair
from exporter.sources.huggingface import BaseModel
from exporter.sources.weight_files import WeightFiles, open_checkpoint, some
from exporter.tensor import row_chunks

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Adapter:
    """A checked adapter: it fits its base, every tensor of it is used once, every value is finite."""

    folder: Path
    config: AdapterConfig
    weights: WeightFiles
    changes: Mapping[str, Change]
    """By the name of the base tensor they are made to."""
    weight: float = 1.0
    """What the user scaled this adapter by."""

    @property
    def name(self) -> str:
        """The folder's name: what a manifest calls this adapter."""
        return self.folder.resolve().name

    @property
    def pairs(self) -> dict[str, LoraPair]:
        """LoRA factors by the name of the base tensor they change."""
        return {name: change.pair for name, change in self.changes.items() if change.pair}

    def read_a(self, pair: LoraPair) -> Tensor:
        """The whole of A [rank, columns], float32."""
        return self.weights.read_rows(pair.a_name, 0, pair.rank).float()

    def read_b(self, pair: LoraPair, start: int, stop: int) -> Tensor:
        """Rows of B [stop - start, rank], float32."""
        return self.weights.read_rows(pair.b_name, start, stop).float()


def open_adapter(folder: Path, base: BaseModel, *, weight: float = 1.0) -> Adapter:
    """Open an adapter and check it against its base.

    Raises:
        ConfigError: no adapter there.
        ToolError: a variant that cannot be merged, another model's adapter, or a damaged one.
    """
    config = read_adapter_config(folder)
    weights = open_checkpoint(folder, ("adapter_model",))
    changes = account(folder, config, weights, base)
    adapter = Adapter(folder, config, weights, changes, weight)
    _check_finite(adapter)
    return adapter


def _check_finite(adapter: Adapter) -> None:
    bad = [name for name in adapter.weights.specs if not all(_finite_chunks(adapter.weights, name))]
    if bad:
        raise ToolError(f"{adapter.folder} holds values that are not finite: {some(bad)}", hint="training diverged")


def _finite_chunks(weights: WeightFiles, name: str) -> Iterator[bool]:
    for start, stop in row_chunks(weights.specs[name]):
        # The extremes tell, since a NaN is both and fails every comparison: a fifteenth of isfinite().all()'s time.
        # By numpy: torch would start threads for every chunk, and they spin between two.
        values = weights.read_rows(name, start, stop).float().numpy()
        yield float(values.min()) > float("-inf") and float(values.max()) < float("inf")
