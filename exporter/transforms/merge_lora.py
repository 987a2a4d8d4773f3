"""W + sum of scale * B @ A, row by row, with the roundings PEFT's own merge makes.

Shapes: O = rows (out features), I = columns (in features), R = LoRA rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class LoraFactors:
    """One adapter's share in one weight."""

    a: Tensor
    """A [R, I], float32, whole: every row of the weight needs all of it."""
    read_b: Callable[[int, int], Tensor]
    """(start, stop) -> rows of B [stop - start, R], float32."""
    scale: float


def merge_lora(
    weight_OI: Tensor, first_row: int, factors: Sequence[LoraFactors], *, keep_float32: bool = False
) -> Tensor:
    """Fold LoRA factors into rows of a weight: W + sum(scale * (B @ A)), rounded once to the weight's type.

    With `keep_float32` the sum is handed on as it is.

    The order of operations is the contract: product in float32 by torch's mm, then times the scale, then plus W.
    `addmm(alpha=scale)` or a pre-scaled B give other float32 values in 26-82 % of the weights whenever the scale is no
    power of two; torch's mm because PEFT uses it too, and another BLAS sums in another order.
    """
    import torch

    rows = weight_OI.shape[0]
    delta_OI: Tensor | None = None
    for factor in factors:
        part_OI = torch.mm(factor.read_b(first_row, first_row + rows), factor.a)
        part_OI *= factor.scale
        delta_OI = part_OI if delta_OI is None else delta_OI.add_(part_OI)
    if delta_OI is None:
        return weight_OI
    merged_OI = delta_OI.add_(weight_OI)
    return merged_OI if keep_float32 else merged_OI.to(weight_OI.dtype)
