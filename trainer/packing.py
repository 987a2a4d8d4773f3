"""Several rows in one sequence: which ones, so that little of it stays empty."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

_WINDOW_ROWS = 2_000


def packed_passes(lengths: Sequence[int], capacity: int, seed: int) -> Iterator[list[tuple[int, ...]]]:
    """Passes over all rows without end, each shuffled and packed anew: row numbers of every sequence, in the order of
    training.

    Args:
        lengths: tokens of each row, at most `capacity`.
        capacity: tokens of a sequence.
    """
    generator = random.Random(seed)  # noqa: S311  an order needs no secrecy
    while True:
        rows = list(range(len(lengths)))
        generator.shuffle(rows)
        packed: list[tuple[int, ...]] = []
        # Best fit sorts by length: over all rows it would put the same ones together in every pass.
        for start in range(0, len(rows), _WINDOW_ROWS):
            packed += best_fit(rows[start : start + _WINDOW_ROWS], lengths, capacity)
        generator.shuffle(packed)
        yield packed


def best_fit(rows: Sequence[int], lengths: Sequence[int], capacity: int) -> list[tuple[int, ...]]:
    """Best fit decreasing: the longest row first, each into the sequence that it fills best."""
    sequences: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    """(tokens left, place) of every sequence, sorted."""
    for row in sorted(rows, key=lambda row: -lengths[row]):
        at = bisect_left(rooms, (lengths[row], 0))
        if at < len(rooms):
            room, place = rooms.pop(at)
            sequences[place].append(row)
        else:
            room, place = capacity, len(sequences)
            sequences.append([row])
        insort(rooms, (room - lengths[row], place))
    return [tuple(sequence) for sequence in sequences]
