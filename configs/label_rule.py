"""The rule that answers an exam question, wherever one is answered: while training, and by the finished model.

Every spelling of every label gets its log probability after the prompt (`configs.spellings`). A label has what its
spellings have together. Of the options that are not blank the one whose label has most is the answer, of equals the
first. Nothing is sampled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pydantic would cost `runtime --help` a tenth of a second
    from configs.exam import Question


def by_label(labels: Sequence[int], log_probabilities: Sequence[float]) -> list[float]:
    """One log probability for every label from one for every spelling; they exclude each other, so they add up.

    Args:
        labels: the label, counted from 0, that each spelling stands for.
    """
    sums: list[list[float]] = [[] for _ in range(max(labels) + 1)]
    for label, value in zip(labels, log_probabilities, strict=True):
        sums[label].append(value)
    return [_log_of_sum(values) for values in sums]


def ranked(question: Question, values: Sequence[float]) -> list[int]:
    """Places, counted from 1, of the options that are not blank, the likeliest first; of equals the one before.

    Args:
        values: log probability of every option's label.
    """
    return sorted(question.answerable, key=lambda place: (-values[place - 1], place))


def shares(question: Question, values: Sequence[float]) -> tuple[float, ...]:
    """Probability of every option among those that are not blank; a blank option has 0."""
    best = max(values[place - 1] for place in question.answerable)
    weights = {place: math.exp(values[place - 1] - best) for place in question.answerable}
    total = math.fsum(weights.values())
    return tuple(weights.get(place, 0.0) / total for place in range(1, len(question.choices) + 1))


def _log_of_sum(values: Sequence[float]) -> float:
    """Logarithm of the sum of the exponentials."""
    most = max(values)
    return most if len(values) == 1 else most + math.log(math.fsum(math.exp(value - most) for value in values))
