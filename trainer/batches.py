"""The whole run's sequences in order, and batches made of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from trainer.examples import IGNORED, Example


class Sequences(Dataset[tuple[int, ...]]):  # type: ignore[misc]  # torch is not followed by mypy
    """The whole run's sequences, in order; an item is the row numbers of one."""

    def __init__(self, order: Sequence[tuple[int, ...]]) -> None:
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> tuple[int, ...]:
        return self._order[place]


class Collator:
    """Row numbers of each sequence -> a batch: input_ids, labels, position_ids [B, L], rows [all rows of the batch].

    No attention mask. Sequences are filled at their right, where causal attention never looks. Rows packed into one
    sequence are kept apart by their positions: where these begin anew, transformers lets nothing look back, but only
    if it is given no mask. Batches of single rows have no position_ids.

    Args:
        in_one_line: put all packed sequences of a batch end to end into one, [1, L]. For flash-attn transformers heeds
            positions that begin anew only in a batch of one (`_is_packed_sequence`), and lets rows of a larger one see
            each other without a word.
    """

    def __init__(self, examples: Sequence[Example], padding_id: int, *, in_one_line: bool = False) -> None:
        self._examples = examples
        self._padding_id = padding_id
        self._in_one_line = in_one_line

    def __call__(self, sequences: Sequence[tuple[int, ...]]) -> dict[str, torch.Tensor]:
        if self._in_one_line and any(len(rows) > 1 for rows in sequences):
            sequences = [tuple(row for rows in sequences for row in rows)]
        packed = [[self._examples[row] for row in rows] for rows in sequences]
        batch = {
            "input_ids": _filled([[id_ for one in rows for id_ in one.ids] for rows in packed], self._padding_id),
            "labels": _filled([[label for one in rows for label in one.labels] for rows in packed], IGNORED),
            "rows": torch.tensor([row for rows in sequences for row in rows]),
        }
        if any(len(rows) > 1 for rows in packed):
            # Each token of the filling is a row of its own.
            batch["position_ids"] = _filled([[at for one in rows for at in range(len(one.ids))] for rows in packed], 0)
        return batch


def _filled(lines: Sequence[Sequence[int]], filling: int) -> torch.Tensor:
    width = max(map(len, lines))
    return torch.tensor([[*line, *[filling] * (width - len(line))] for line in lines])
