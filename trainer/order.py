"""Which row is trained when: the whole run laid out beforehand, from the seed alone.

Resuming is then a matter of skipping, and one process with eight accumulation passes sees the same rows a step as
eight passes in one, or as two processes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

from configs.errors import ConfigError
from trainer.packing import packed_passes
from trainer.settings import TrainingSettings

_WINDOW_BATCHES = 50
_LONGEST = 100_000_000
"""Rows of a run; each takes about 80 bytes."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A run laid out: the rows of every sequence, one row each unless they are packed."""

    steps: int
    sequences: list[tuple[int, ...]]
    per_pass: int
    """Sequences in one pass over the rows; packed, in the first."""


def lay_out(lengths: Sequence[int], training: TrainingSettings, sequences_per_step: int) -> RunOrder:
    """Lay out a run over rows of these lengths in tokens.

    Raises:
        ConfigError: it would be longer than memory holds.
    """
    passes = packed_passes(lengths, training.max_length, training.seed) if training.packing else None
    first = next(passes) if passes else []
    per_pass = len(first) or len(lengths)
    steps = step_count(per_pass, sequences_per_step, steps=training.steps, epochs=training.epochs)
    total = steps * sequences_per_step
    if total > _LONGEST:
        raise ConfigError(
            f"{steps:,} steps of {sequences_per_step:,} are more rows than can be laid out ({_LONGEST:,})",
            hint="lower training.steps or training.epochs",
        )
    if passes:
        sequences = list(islice(chain(first, chain.from_iterable(passes)), total))
        return RunOrder(steps, sequences, per_pass)
    rows = row_order(
        lengths, total, batch_size=training.batch_size, group_by_length=training.group_by_length, seed=training.seed
    )
    return RunOrder(steps, [(row,) for row in rows], per_pass)


def step_count(rows: int, rows_per_step: int, *, steps: int, epochs: float) -> int:
    """Optimizer steps of a run: `steps` if given, else enough for `epochs` passes over the rows."""
    return steps or max(1, math.ceil(rows * epochs / rows_per_step))


def row_order(lengths: Sequence[int], total: int, *, batch_size: int, group_by_length: bool, seed: int) -> list[int]:
    """`total` row numbers: one shuffled pass after another, each row once a pass.

    Args:
        lengths: tokens of each row.
        total: rows to lay out, a multiple of `batch_size`.
        group_by_length: sort windows of 50 batches by length, and shuffle the batches that come of it.
    """
    generator = random.Random(seed)  # noqa: S311  an order needs no secrecy
    order: list[int] = []
    while len(order) < total:
        one_pass = list(range(len(lengths)))
        generator.shuffle(one_pass)
        order += one_pass
    order = order[:total]
    return _grouped(order, lengths, batch_size, generator) if group_by_length and batch_size > 1 else order


def _grouped(order: list[int], lengths: Sequence[int], batch_size: int, generator: random.Random) -> list[int]:
    grouped: list[int] = []
    window = batch_size * _WINDOW_BATCHES
    for start in range(0, len(order), window):
        rows = sorted(order[start : start + window], key=lambda row: lengths[row])
        batches = [rows[place : place + batch_size] for place in range(0, len(rows), batch_size)]
        generator.shuffle(batches)
        grouped += [row for batch in batches for row in batch]
    return grouped
