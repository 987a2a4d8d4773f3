"""The rows of new pieces: each the mean of the rows of the old pieces that its text was cut into before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trainer.vocab.merging import segment
from trainer.vocab.model_file import ModelFile

if TYPE_CHECKING:
    import torch

# Shapes: V = rows of the base, N = new rows, H = width.

_ROWS_AT_ONCE = 1024
_MEAN_ROWS_AT_ONCE = 4096


def old_ids(text: str, base: ModelFile, scores: dict[str, float]) -> list[int]:
    """Ids of the old pieces, or bytes, of a new piece's text, in the middle of a text: without a blank before it.

    Args:
        scores: the base's normal pieces.
    """
    ids: list[int] = []
    for symbol in segment(text, scores.get):
        if symbol in scores:
            ids.append(int(base.processor.piece_to_id(symbol)))
        else:
            found = (int(base.processor.piece_to_id(f"<0x{byte:02X}>")) for byte in symbol.encode("utf-8"))
            ids += [id_ for id_ in found if base.processor.is_byte(id_)]
    return ids


def grown_rows(matrix_VH: torch.Tensor, kept: int, old_ids_N: Sequence[Sequence[int]]) -> Iterator[torch.Tensor]:
    """All rows of a grown matrix, lot by lot: the first `kept` as they are, then the new ones, then padding rows.

    Computed in f32. A piece without old ids gets the mean of all kept rows.

    Args:
        kept: rows that stay; those after them are padding, which new rows take the place of.
        old_ids_N: for each new row the ids whose rows it is the mean of.
    """
    import torch

    for start in range(0, kept, _ROWS_AT_ONCE):
        yield matrix_VH[start : min(start + _ROWS_AT_ONCE, kept)]
    fallback_H: torch.Tensor | None = None
    for start in range(0, len(old_ids_N), _ROWS_AT_ONCE):
        rows = []
        for ids in old_ids_N[start : start + _ROWS_AT_ONCE]:
            if not ids and fallback_H is None:
                fallback_H = _mean(matrix_VH[:kept])
            rows.append(matrix_VH[list(ids)].float().mean(0) if ids else fallback_H)
        yield torch.stack(rows)
    if kept + len(old_ids_N) < len(matrix_VH):
        yield matrix_VH[kept + len(old_ids_N) :]


def _mean(matrix_VH: torch.Tensor) -> torch.Tensor:
    import torch

    lots = matrix_VH.split(_MEAN_ROWS_AT_ONCE)
    return torch.stack([lot.float().sum(0) for lot in lots]).sum(0) / len(matrix_VH)
