"""Type changes between the plain types, and the check that nothing is lost to infinity on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.errors import ToolError
from exporter.tensor import torch_dtype

if TYPE_CHECKING:
    from torch import Tensor

F16_MAX = 65504.0


def cast(rows: Tensor, dtype: str, *, tensor_name: str) -> Tensor:
    """Round to a plain type.

    Raises:
        ToolError: a value is not finite, or too large for f16 (the usual converters write an infinity here and
            report success).
    """
    check_range(rows, F16_MAX if dtype == "f16" else float("inf"), tensor_name)
    if dtype == "f16":
        rows = rows.float()  # exact, and the two vectorized steps take a third of bf16's own way to f16
    return rows.to(torch_dtype(dtype))


def check_range(rows: Tensor, largest: float, tensor_name: str) -> None:
    """Refuse NaN, infinities and whatever is larger than `largest`."""
    if not rows.numel():
        return
    low, high = (float(x) for x in rows.aminmax())
    if not (low > float("-inf") and high < float("inf")):  # a NaN fails every comparison, and aminmax passes it on
        raise ToolError(f"{tensor_name} holds values that are not finite", hint="the base or the adapter is damaged")
    if max(-low, high) > largest:
        raise ToolError(
            f"{tensor_name} holds {max(-low, high):.6g}, more than f16 can ({largest:.0f})",
            hint="--type bf16 or f32 can hold it",
        )
