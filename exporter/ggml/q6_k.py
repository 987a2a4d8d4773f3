"""q6_K in numpy, for machines without llama-cpp-python: the output matrix of most quantized files is q6_K.

A block is 256 weights: 16 groups of 16, a signed 8-bit scale for each group, one f16 scale for the block, six bits a
weight. Source of the method: `quantize_row_q6_K_ref` and `make_qx_quants` in llama.cpp's ggml-quants.c. Sums run over a
group's weights one after another in float32, as they do there, so that the bytes come out the same.

Shapes: W = 16 weights of a group, G = groups, S = 16 groups of a block, K = blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GROUP, _GROUPS = 16, 16
_LEAST = np.float32(1e-15)
"""Groups and blocks of nothing larger than this are zero."""

_TRIALS = [trial for trial in range(-9, 10) if trial]


def quantize_q6_k(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize rows of a multiple of 256 weights; returns the blocks [K, 210] in order."""
    weights_WG = np.ascontiguousarray(rows.reshape(-1, _GROUP).T)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale_G, levels_WG = _fit_groups(weights_WG)
        return _pack(weights_WG, scale_G, levels_WG)


def _fit_groups(weights_WG: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The best scale of every group among nineteen, by squared error weighted with the square, and its levels."""
    largest_G = np.take_along_axis(weights_WG, np.abs(weights_WG).argmax(0)[None], 0)[0]
    best_inverse_G = np.float32(-32) / largest_G
    sum_lx_G, sum_l2_G = _sums(weights_WG, best_inverse_G)
    scale_G = np.where(sum_l2_G != 0, sum_lx_G / sum_l2_G, np.float32(0))
    best_G = scale_G * sum_lx_G
    for trial in _TRIALS:
        inverse_G = -(np.float32(32) + np.float32(0.1) * np.float32(trial)) / largest_G
        sum_lx_G, sum_l2_G = _sums(weights_WG, inverse_G)
        better_G = (sum_l2_G > 0) & (sum_lx_G * sum_lx_G > best_G * sum_l2_G)
        trial_scale_G = sum_lx_G / sum_l2_G
        best_inverse_G = np.where(better_G, inverse_G, best_inverse_G)
        scale_G = np.where(better_G, trial_scale_G, scale_G)
        best_G = np.where(better_G, trial_scale_G * sum_lx_G, best_G)
    empty_G = np.abs(largest_G) < _LEAST
    levels_WG = np.where(empty_G, np.float32(-32), _levels(weights_WG * best_inverse_G))
    return np.where(empty_G, np.float32(0), scale_G), (levels_WG + 32).astype(np.uint8)


def _levels(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(np.rint(values), np.float32(-32), np.float32(31))


def _sums(
    weights_WG: NDArray[np.float32], inverse_G: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sums over a group of w*x*l and w*l*l, where l is x's level at this scale and w = x*x."""
    sum_lx_G, sum_l2_G = np.zeros_like(inverse_G), np.zeros_like(inverse_G)
    for weight_G in weights_WG:
        level_G = _levels(inverse_G * weight_G)
        square_G = weight_G * weight_G
        sum_lx_G += square_G * weight_G * level_G
        sum_l2_G += square_G * level_G * level_G
    return sum_lx_G, sum_l2_G


def _pack(
    weights_WG: NDArray[np.float32], scale_G: NDArray[np.float32], levels_WG: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Round the scales to eight bits and the levels to what those give, and lay the blocks out."""
    scales_KS = scale_G.reshape(-1, _GROUPS)
    largest_K = np.take_along_axis(scales_KS, np.abs(scales_KS).argmax(1)[:, None], 1)
    inverse_K = np.float32(-128) / largest_K
    block_scale_K = (np.float32(1) / inverse_K).astype(np.float16)
    scales_KS = np.minimum(np.rint(inverse_K * scales_KS), np.float32(127))
    step_G = (block_scale_K.astype(np.float32) * scales_KS).reshape(-1)
    levels_WG = np.where(step_G != 0, _levels(weights_WG / step_G) + 32, levels_WG)
    blocks = np.concatenate(
        [
            _six_bits(np.nan_to_num(levels_WG.T).astype(np.uint8).reshape(-1, _GROUPS * _GROUP)),
            np.nan_to_num(scales_KS).astype(np.int8).view(np.uint8),
            block_scale_K.view(np.uint8),
        ],
        axis=1,
    )
    blocks[np.abs(largest_K[:, 0]) < _LEAST] = 0
    return blocks


def _six_bits(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Levels [K, 256] as 128 bytes of lower halves and 64 bytes of upper pairs of bits."""
    quarters = levels.reshape(-1, 2, 4, 32)
    low, high = quarters & 15, quarters >> 4
    lower = low[:, :, :2] | low[:, :, 2:] << 4
    upper = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    return np.concatenate([lower.reshape(-1, 128), upper.reshape(-1, 64)], axis=1)
