"""Sources mixed by weight: as many rows as the ratio allows without repeating one, chosen from the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from configs.errors import ConfigError

_MOST_ORDERS, _MOST_DIGITS = 12, 30
"""A weight lies between 1e-12 and 1e12: the fraction of one like 1e999999999 would fill the memory."""


def parse_source(text: str) -> tuple[Path, Fraction | None]:
    """(file, weight) of `SHEET` or `SHEET=WEIGHT`; a file whose own name ends so is taken for the file.

    Raises:
        ConfigError: the weight is not a number above zero.
    """
    name, sign, weight = text.rpartition("=")
    if not sign or Path(text).exists():
        return Path(text), None
    try:
        value = Decimal(weight)
    except InvalidOperation:
        value = Decimal(0)
    is_weight = value.is_finite() and value > 0 and abs(value.adjusted()) <= _MOST_ORDERS
    if not is_weight or len(value.as_tuple().digits) > _MOST_DIGITS:
        raise ConfigError(f"{text}: no such file, and '{weight}' is no weight", hint="FILE=3 gives a file the weight 3")
    return Path(name), Fraction(value)


def quotas(counts: Sequence[int], weights: Sequence[Fraction | None]) -> list[int]:
    """Rows to take of each source: all without weights, else as many as keep the ratio.

    Raises:
        ConfigError: only some sources have a weight.
    """
    given = [weight for weight in weights if weight is not None]
    if not given:
        return list(counts)
    if len(given) < len(weights):
        raise ConfigError("only some of the sources have a weight", hint="give each one, FILE=WEIGHT, or none")
    unit = min(Fraction(count) / weight for count, weight in zip(counts, given, strict=True))
    return [int(unit * weight) for weight in given]


class Choice:
    """Chooses so many of a source's rows, each with the same chance, going through them once in order.

    Algorithm S of Knuth, The Art of Computer Programming, volume 2, section 3.4.2.
    """

    def __init__(self, quota: int, rows: int, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311  a choice of rows needs no secrecy
        self._wanted = quota
        self._left = rows

    def takes_next(self) -> bool:
        """Whether the next row is one of the chosen."""
        taken = self._wanted == self._left or self._random.random() * self._left < self._wanted
        self._left -= 1
        self._wanted -= taken
        return taken
