"""The row order of q and k: Hugging Face pairs row i with i + d/2 of a head, llama.cpp pairs 2i with 2i + 1.

Shapes: O = rows, I = columns, d = rows of one head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def interleave_rotary_rows(rows_OI: Tensor, head_rows: int) -> Tensor:
    """Reorder whole heads from halves (Hugging Face) to pairs (llama.cpp): row i of a half becomes row 2i or 2i + 1.

    Source: `LlamaModel.permute` in llama.cpp's converter.
    """
    columns = rows_OI.shape[1]
    halves = rows_OI.view(-1, 2, head_rows // 2, columns)
    return halves.transpose(1, 2).reshape(-1, columns)
