"""Progress events, and the plain way to show them: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

_BAR_CELLS = 24
_FEWEST_CELLS = 6
_BAR_SECONDS = 0.1
_LINE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Work done so far, in `unit`s; `note` is what else is worth a glance (loss, accuracy)."""

    done: int
    total: int
    unit: str
    note: str = ""


def show(events: Iterable[Progress], title: str, *, stream: TextIO | None = None) -> None:
    """Run through the events and show them on stderr.

    A terminal gets one line that redraws itself; anything else gets a line every 15 seconds and the last one.
    """
    shower = Shower(title, stream=stream)
    for event in events:
        shower.show(event)
    shower.finish()


class Shower:
    """Shows progress events one by one, for callers that are told of progress instead of asking for it."""

    def __init__(self, title: str, *, stream: TextIO | None = None, terminal: bool | None = None) -> None:
        """`terminal`: whether the stream is one that redraws a line; None asks it."""
        self._title = title
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty() if terminal is None else terminal
        self._start = time.monotonic()
        self._shown_at = self._start if not self._terminal else 0.0
        self._last: Progress | None = None
        self._shown: Progress | None = None

    def show(self, event: Progress) -> None:
        """Draw the event, unless one was drawn just now."""
        self._last = event
        now = time.monotonic()
        if now - self._shown_at >= (_BAR_SECONDS if self._terminal else _LINE_SECONDS):
            self._shown_at = now
            self._draw(event)

    def finish(self) -> None:
        """Draw the last event and end the line."""
        if self._last and self._last != self._shown:
            self._draw(self._last)
        if self._terminal and self._shown:
            self._stream.write("\n")
        self._stream.flush()

    def _draw(self, event: Progress) -> None:
        self._shown = event
        share = event.done / event.total if event.total else 1.0
        if self._terminal:
            # A line that wraps could not be redrawn.
            line = self._line(event, share, shutil.get_terminal_size().columns - 1)
            self._stream.write("\r\x1b[K" + line)
        else:
            note = f"  {event.note}" if event.note else ""
            self._stream.write(f"{self._title}: {event.done:,}/{event.total:,} {event.unit} ({share:.0%}){note}\n")
        self._stream.flush()

    def _line(self, event: Progress, share: float, width: int) -> str:
        """One line of at most `width` cells. Where they are few the bar is shorter, then the numbers stand alone."""
        note = f"  {event.note}" if event.note else ""
        left = self._left(share)
        told = f"{share:4.0%}  {event.done:,}/{event.total:,} {event.unit}  {left}{note}"
        cells = min(_BAR_CELLS, width - len(f"{self._title}  {told}"))
        if cells >= _FEWEST_CELLS:
            filled = round(share * cells)
            return f"{self._title} {'━' * filled}{'─' * (cells - filled)} {told}"
        return f"{self._title} {event.done:,}/{event.total:,}  {left}{note}"[:width]

    def _left(self, share: float) -> str:
        elapsed = time.monotonic() - self._start
        seconds = elapsed / share - elapsed if share else 0.0
        minutes, rest = divmod(round(elapsed if share >= 1 else seconds), 60)
        return f"{minutes}:{rest:02d}" + ("" if share >= 1 else " left")
