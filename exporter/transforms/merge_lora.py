"""W + sum of scale * B @ A, row by row, with the roundings PEFT's own merge makes.

Shapes: O = rows (out features), I = columns (in features), R = LoRA rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Rows = Callable[[int, int], "Tensor"]
"""(start, stop) -> those rows, float32."""


class Share(Protocol):
    """What one adapter adds to one weight."""

    def added(self, weight_OI: Tensor, start: int, stop: int) -> Tensor:
        """The addition to rows [start, stop) [stop - start, I], float32, a tensor of the caller's own."""
        ...


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """scale * B @ A."""

    a: Tensor
    """A [R, I], float32, whole: every row of the weight needs all of it."""
    read_b: Rows
    """Rows of B [stop - start, R]."""
    scale: float

    def added(self, weight_OI: Tensor, start: int, stop: int) -> Tensor:
        """The order of operations is the contract: product in float32 by torch's mm, then times the scale.

        `addmm(alpha=scale)` or a pre-scaled B give other float32 values in 26-82 % of the weights whenever the scale is
        no power of two; torch's mm because PEFT uses it too, and another BLAS sums in another order.
        """
        import torch

        part_OI = torch.mm(self.read_b(start, stop), self.a)
        part_OI *= self.scale
        return part_OI


@dataclass(frozen=True, slots=True)
class EmbeddingFactors:
    """scale * (B @ A).T: an embedding's A has a column for every token, which is one of its rows."""

    read_a: Rows
    """(start, stop) -> columns of A [R, stop - start]."""
    b: Tensor
    """B [I, R], float32."""
    scale: float
    keep_float32: bool = False

    def added(self, weight_OI: Tensor, start: int, stop: int) -> Tensor:
        """Rounded to the weight's type before it is added, as PEFT does for embeddings alone."""
        import torch

        part_OI = torch.mm(self.b, self.read_a(start, stop)).T * self.scale
        return part_OI if self.keep_float32 else part_OI.to(weight_OI.dtype).float()


@dataclass(frozen=True, slots=True)
class DoraFactors:
    """DoRA: m / ||W + scale * B @ A|| * (W + scale * B @ A) - W, the norm taken of every row of the unmerged base."""

    lora: LoraFactors
    read_magnitude: Rows
    """m [stop - start, 1]."""
    weight: float = 1.0

    def merged(self, weight_OI: Tensor, start: int, stop: int) -> Tensor:
        """The new weight, float32."""
        import torch

        sum_OI = self.lora.added(weight_OI, start, stop).add_(weight_OI)
        norm_O = torch.linalg.norm(sum_OI, dim=1)
        return (self.read_magnitude(start, stop).view(-1) / norm_O).view(-1, 1) * sum_OI

    def added(self, weight_OI: Tensor, start: int, stop: int) -> Tensor:
        """The difference that the new weight makes, times the adapter's weight."""
        return (self.merged(weight_OI, start, stop) - weight_OI) * self.weight


@dataclass(frozen=True, slots=True)
class BiasShare:
    """scale * the bias of B."""

    read: Rows
    scale: float

    def added(self, weight_OI: Tensor, start: int, stop: int) -> Tensor:
        """Rows of a bias are [stop - start, 1]."""
        return self.read(start, stop) * self.scale


def merge_lora(weight_OI: Tensor, first_row: int, shares: Sequence[Share], *, keep_float32: bool = False) -> Tensor:
    """Add adapters' shares to rows of a weight: summed in float32, rounded once to the weight's type.

    With `keep_float32` the sum is handed on as it is.
    """
    if not shares:
        return weight_OI
    last_row = first_row + weight_OI.shape[0]
    alone = shares[0] if len(shares) == 1 else None
    if isinstance(alone, DoraFactors) and alone.weight == 1.0:  # W - W would cost the last bits
        merged_OI = alone.merged(weight_OI, first_row, last_row)
    else:
        merged_OI = shares[0].added(weight_OI, first_row, last_row)
        for share in shares[1:]:
            merged_OI = merged_OI.add_(share.added(weight_OI, first_row, last_row))
        merged_OI = merged_OI.add_(weight_OI)
    return merged_OI if keep_float32 else merged_OI.to(weight_OI.dtype)
