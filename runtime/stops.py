"""Cutting a stream of text at the first stop string."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Passes text on, but holds back what may be the beginning of a stop string.

    >>> stops = StopFilter(["</s>"])
    >>> stops.feed("fine <"), stops.feed("/"), stops.feed("b>"), stops.feed("!</s>gone")
    ('fine ', '', '</b>', '!')
    >>> stops.stopped
    True
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that is now certain to precede every stop string."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - self._overlap())

    def flush(self) -> str:
        """What was held back, at the end of a stream that met no stop string."""
        return "" if self.stopped else self._release(len(self._held))

    def _overlap(self) -> int:
        """Length of the longest tail of the held text that begins a stop string."""
        return max((n for stop in self._stops for n in range(1, len(stop)) if self._held.endswith(stop[:n])), default=0)

    def _release(self, length: int) -> str:
        out, self._held = self._held[:length], self._held[length:]
        return out
