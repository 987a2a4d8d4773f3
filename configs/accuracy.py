"""How good a set of answers is: accuracy with its interval, and who was taken for whom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Right answers out of all that have a label."""

    correct: int
    total: int

    @property
    def share(self) -> float | None:
        """0..1, None where nothing has a label."""
        return self.correct / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (Wilson 1927), which stays within 0..1 where the normal one does not."""
        if not self.total:
            return 0.0, 1.0
        share, spread = self.correct / self.total, _Z_95**2 / self.total
        centre = (share + spread / 2) / (1 + spread)
        half = _Z_95 / (1 + spread) * math.sqrt(share * (1 - share) / self.total + spread / (4 * self.total))
        return max(0.0, centre - half), min(1.0, centre + half)

    def sentence(self) -> str:
        """`accuracy 72.5 % (290 of 400; 95 % interval 67.9–76.6 %)`."""
        if self.share is None:
            return "accuracy unknown: no row has a label"
        low, high = self.interval
        return (
            f"accuracy {self.share:.1%} ({self.correct} of {self.total}; "
            f"95 % interval {100 * low:.1f}–{100 * high:.1f} %)"
        )


def confusion(pairs: Iterable[tuple[int, int | None]]) -> Counter[tuple[int, int | None]]:
    """Counts of (gold place, answered place); None is no answer, or one that names no option."""
    return Counter(pairs)
