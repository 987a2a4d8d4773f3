"""How fast a training goes: tokens of rows a second, padding and evaluations left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pace:
    """Counts tokens, and the seconds in which they were trained."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._away = 0.0
        self.tokens = 0

    def count(self, tokens: int) -> None:
        """Add tokens that are being trained."""
        self.tokens += tokens

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do something whose time is not training's."""
        start = self._clock()
        try:
            yield
        finally:
            self._away += self._clock() - start

    @property
    def tokens_per_second(self) -> float:
        """Since the start; 0 before any time has passed."""
        seconds = self._clock() - self._since - self._away
        return self.tokens / seconds if seconds > 0 else 0.0
