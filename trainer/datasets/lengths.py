"""Lengths of many rows in little memory: exact below 1,024, above it to within 0.2 %."""

from __future__ import annotations

from collections import Counter

_EXACT_BITS = 10


class Lengths:
    """A histogram of lengths; sum, mean and longest are exact."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._sum = 0
        self._longest = 0
        self.rows = 0

    def add(self, length: int) -> None:
        """Count one row."""
        self.rows += 1
        self._sum += length
        self._longest = max(self._longest, length)
        shift = max(0, length.bit_length() - _EXACT_BITS)
        self._counts[length >> shift << shift] += 1

    def summary(self) -> dict[str, float | int]:
        """sum, mean, median, p90, p99 and longest; zeros where there are no rows."""
        return {
            "sum": self._sum,
            "mean": round(self._sum / self.rows, 1) if self.rows else 0,
            "median": self._quantile(0.5),
            "p90": self._quantile(0.9),
            "p99": self._quantile(0.99),
            "longest": self._longest,
        }

    def _quantile(self, share: float) -> int:
        before = 0
        for length, count in sorted(self._counts.items()):
            before += count
            if before >= share * self.rows:
                return length
        return 0
