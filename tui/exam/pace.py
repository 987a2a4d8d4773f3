"""How quickly questions are answered, and how long the rest will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_WINDOW_S = 60.0
_FEWEST = 10
"""Slow models: measured over so many answers, however long they take."""


class Pace:
    """Speed over the last minute; pauses do not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._points: deque[tuple[float, int]] = deque()
        self._paused_at: float | None = None
        self._lost = 0.0

    def begin(self, done: int) -> None:
        """A run goes on from here."""
        self._points.clear()
        self._paused_at = None
        self._lost = 0.0
        self.note(done)

    def pause(self) -> None:
        """Time stands still."""
        if self._paused_at is None:
            self._paused_at = self._clock()

    def resume(self) -> None:
        """Time goes on."""
        if self._paused_at is not None:
            self._lost += self._clock() - self._paused_at
            self._paused_at = None

    def note(self, done: int) -> None:
        """So many are done now."""
        now = self._now()
        if self._points and self._points[-1][1] == done:
            return
        self._points.append((now, done))
        while len(self._points) > _FEWEST and now - self._points[1][0] > _WINDOW_S:
            self._points.popleft()

    @property
    def speed(self) -> float:
        """Questions per second; 0 before there is anything to go by."""
        if len(self._points) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self._points[0], self._points[-1]
        return (last - first) / max(last_at - first_at, 1e-3)

    def left_s(self, total: int) -> float | None:
        """Seconds until `total` are done, None if there is nothing to go by."""
        if not self.speed:
            return None
        at, done = self._points[-1]
        return max(0.0, (total - done) / self.speed - (self._now() - at))

    def _now(self) -> float:
        return (self._paused_at if self._paused_at is not None else self._clock()) - self._lost
