"""Two runs on the same questions: is one better, or was it luck?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A question that the two runs answered differently; None is no answer."""

    id: str
    gold: int
    first: int | None
    second: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The fourfold table of two runs, and McNemar's test on it (McNemar 1947)."""

    both_right: int
    only_first: int
    """Questions that only the first run answered right."""
    only_second: int
    both_wrong: int
    disagreements: tuple[Disagreement, ...]

    @property
    def rows(self) -> int:
        return self.both_right + self.only_first + self.only_second + self.both_wrong

    @property
    def difference(self) -> float:
        """Accuracy of the first run less that of the second."""
        return (self.only_first - self.only_second) / self.rows if self.rows else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference, adjusted for few discordant rows (Bonett and Price 2012)."""
        first, second = ((count + 1) / (self.rows + 2) for count in (self.only_first, self.only_second))
        half = _Z_95 * math.sqrt((first + second - (first - second) ** 2) / (self.rows + 2))
        return max(-1.0, first - second - half), min(1.0, first - second + half)

    @property
    def p_exact(self) -> float:
        """Two-sided exact p: how likely a split at least this uneven is if both runs are equally good."""
        return min(1.0, 2 * self._tail())

    @property
    def p_mid(self) -> float:
        """The exact p less half of the observed split's own probability: less cautious (Fagerland et al. 2013)."""
        discordant = self.only_first + self.only_second
        return min(1.0, 2 * self._tail() - _binomial(discordant, self.only_first)) if discordant else 1.0

    def _tail(self) -> float:
        fewer = min(self.only_first, self.only_second)
        return math.fsum(_binomial(self.only_first + self.only_second, count) for count in range(fewer + 1))


def compare(rows: Sequence[tuple[str, int, int | None, int | None]]) -> Comparison:
    """Compare two runs by (ID, gold place, first run's place, second run's place) of every labelled question."""
    right = [(first == gold, second == gold) for _, gold, first, second in rows]
    return Comparison(
        both_right=right.count((True, True)),
        only_first=right.count((True, False)),
        only_second=right.count((False, True)),
        both_wrong=right.count((False, False)),
        disagreements=tuple(Disagreement(*row) for row in rows if row[2] != row[3]),
    )


def _binomial(trials: int, hits: int) -> float:
    """Probability of that many hits in fair trials, by logarithms: counts of thousands overflow a float."""
    log = math.lgamma(trials + 1) - math.lgamma(hits + 1) - math.lgamma(trials - hits + 1)
    return math.exp(log - trials * math.log(2))
