"""What a weight is after bitsandbytes has quantized it: the values a QLoRA or 8-bit adapter was trained on.

Written from bitsandbytes' behaviour and held against it by test; the library itself is not needed for an export.
Shapes: O = rows, I = columns, N = blocks of 64 weights, counted through the whole tensor.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64
_STATISTICS_BLOCK = 256
_GRID = 65535
_TINY = 1e-38
_TINIEST_F16 = 2.0**-24

_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 values of NormalFloat4 (QLoRA, arXiv 2305.14314, appendix E)."""


def block_maxima(rows_OI: Tensor) -> Tensor:
    """The largest magnitude of every block [N], float32; a last block may be short."""
    import torch

    flat = rows_OI.reshape(-1).float().abs()
    return torch.nn.functional.pad(flat, (0, -flat.numel() % BLOCK)).view(-1, BLOCK).amax(1)


def stored_maxima(maxima_N: Tensor, *, on_cpu: bool) -> Tensor:
    """The maxima as double quantization keeps them: 8 bits each, around their mean, in blocks of 256.

    Args:
        maxima_N: of the whole tensor.
        on_cpu: bitsandbytes' CPU kernel looks values up on a grid of 65,536 steps; its GPU kernel takes the nearest.
    """
    import torch

    code = _dynamic_code()
    mean = maxima_N.mean()
    centred_N = maxima_N - mean
    padded = torch.nn.functional.pad(centred_N.abs(), (0, -centred_N.numel() % _STATISTICS_BLOCK))
    largest_N = padded.view(-1, _STATISTICS_BLOCK).amax(1).repeat_interleave(_STATISTICS_BLOCK)[: centred_N.numel()]
    scaled_N = centred_N * (1 / largest_N.clamp(min=_TINY))
    if on_cpu:
        scaled_N = torch.floor((scaled_N * 0.5 + 0.5) * _GRID + 0.5) / _GRID * 2 - 1
    return code[_nearest(scaled_N, code)] * largest_N + mean


def nf4_values(rows_OI: Tensor, first_row: int, maxima_N: Tensor, stored_N: Tensor) -> Tensor:
    """Rows of a weight after NF4, in their own type.

    Args:
        maxima_N: of the whole tensor: what weights were divided by.
        stored_N: what they are multiplied by again; the same without double quantization.
    """
    import torch

    code = torch.tensor(_NF4)
    first = first_row * rows_OI.shape[1]
    blocks = torch.arange(first, first + rows_OI.numel()).div_(BLOCK, rounding_mode="floor")
    scaled = rows_OI.reshape(-1).float() * (1 / maxima_N.clamp(min=_TINY))[blocks]
    return (code[_nearest(scaled, code)] * stored_N[blocks]).to(rows_OI.dtype).view_as(rows_OI)


def int8_values(rows_OI: Tensor) -> Tensor:
    """Rows of a weight after LLM.int8(), float32: rounded to f16, then to 127 steps of each row's maximum."""
    rows_OI = rows_OI.half().float()
    largest_O1 = rows_OI.abs().amax(1, keepdim=True)
    steps_OI = (rows_OI * (127.0 / largest_O1.clamp(min=_TINIEST_F16))).round()
    return steps_OI * largest_O1 * 7.874015718698502e-3  # bitsandbytes' 1 / 127


def _nearest(values: Tensor, code: Tensor) -> Tensor:
    import torch

    return torch.bucketize(values, (code[:-1] + code[1:]) / 2)


@functools.cache
def _dynamic_code() -> Tensor:
    """The 256 values of the 8-bit dynamic type: seven decades of ever finer steps, both signs, 0 and 1.

    Source: Dettmers, 8-Bit Approximations for Parallelism in Deep Learning (arXiv 1511.04561).
    """
    import torch

    values = [0.0, 1.0]
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2**decade + 1)
        means = (10 ** (decade - 6) * ((edges[:-1] + edges[1:]) / 2)).tolist()
        values += [*means, *(-mean for mean in means)]
    return torch.tensor(sorted(values))
