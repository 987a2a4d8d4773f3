"""Times what the model is doing, for the status line."""

from __future__ import annotations

import time

_TELL_EVERY_S = 0.5


class Stopwatch:
    """Measures the present state and the speed of the reply that is being written."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._first_piece = 0.0
        self._told = 0.0
        self.pieces = 0

    def restart(self) -> None:
        """A new state begins."""
        self._since = time.monotonic()
        self.pieces = 0

    def count(self, pieces: int) -> None:
        """More pieces of the reply have come (a piece is nearly always a token)."""
        if not self.pieces:
            self._first_piece = time.monotonic()
        self.pieces += pieces

    def is_time_to_tell(self) -> bool:
        """True twice a second: figures that change more often cannot be read."""
        now = time.monotonic()
        if now - self._told < _TELL_EVERY_S:
            return False
        self._told = now
        return True

    @property
    def elapsed_s(self) -> int:
        """Whole seconds of the present state."""
        return int(time.monotonic() - self._since)

    @property
    def speed(self) -> float:
        """Pieces per second since the first; 0 before there is a second one."""
        if self.pieces < 2:
            return 0.0
        return (self.pieces - 1) / max(time.monotonic() - self._first_piece, 1e-3)
