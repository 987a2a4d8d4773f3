"""A base's weights with other values: the frame of what adapters replace and of what a quantizer left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from exporter.sources.weight_files import WeightFile, Weights
from exporter.tensor import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor


class DerivedWeights:
    """The same files, other specs or rows."""

    def __init__(self, base: Weights, specs: Mapping[str, TensorSpec]) -> None:
        self._base = base
        self._specs = dict(specs)

    @property
    def files(self) -> Sequence[WeightFile]:
        """The base's files."""
        return self._base.files

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor, of the type that it counts as."""
        return self._specs

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as [rows, columns]."""
        raise NotImplementedError
