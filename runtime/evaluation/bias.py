"""Whether answers lean to a place, and whether they survive another order of the options."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from configs.accuracy import Accuracy
from runtime.evaluation.exam import Evaluation, accuracy_of


@dataclass(frozen=True, slots=True)
class Flips:
    """What became of the answers when the options were asked in other orders."""

    rate: float
    """Share of the orders in which another option won, over all rows."""
    steady: Accuracy
    """Of the rows whose answer never changed."""
    flipping: Accuracy


def recalls(evaluation: Evaluation) -> dict[int, Accuracy]:
    """By place of the right option: how often it is found."""
    places = sorted({row.gold for row in evaluation.graded})
    return {place: accuracy_of([row for row in evaluation.graded if row.gold == place]) for place in places}


def recall_deviation(evaluation: Evaluation) -> float | None:
    """RStd: standard deviation of the recalls over the places (Zheng et al. 2024), 0 without any bias to a place."""
    shares = [recall.share for recall in recalls(evaluation).values() if recall.share is not None]
    return statistics.pstdev(shares) if shares else None


def flips(evaluation: Evaluation) -> Flips | None:
    """None where the CSV has no column FlipRate."""
    rows = [(row, row.flip_rate) for row in evaluation.graded if row.flip_rate is not None]
    if not rows:
        return None
    return Flips(
        rate=math.fsum(rate for _, rate in rows) / len(rows),
        steady=accuracy_of([row for row, rate in rows if not rate]),
        flipping=accuracy_of([row for row, rate in rows if rate]),
    )


def median_label_mass(evaluation: Evaluation) -> float | None:
    """Probability that the model writes a label at all, in the median row; None where the CSV does not tell."""
    masses = [row.label_mass for row in evaluation.graded if row.label_mass is not None]
    return statistics.median(masses) if masses else None
