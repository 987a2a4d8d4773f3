"""Tells a paste from typing where the terminal does not: in a burst of keys, Enter is a line end and sends nothing.

A terminal without bracketed paste delivers every line end of a paste as the key Enter; taken as such, every line would
be sent on its own. An Enter that ends a burst of one line does send: programs that type for a person do it like that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

_TYPED_S = 0.03  # nobody presses two keys within this
_WAIT_S = 0.06
_OVER_S = 0.15  # a paste comes in pieces, with pauses shorter than this between them


class Timer(Protocol):
    """What a timer is good for here."""

    def stop(self) -> None: ...


class Burst:
    """Decides what Enter means, from the times of the keys.

    Args:
        set_timer: calls a function after so many seconds.
        send: what Enter does when it was pressed.
        newline: what it does in a paste.
        held: called when a paste of several lines has ended and was not sent.
    """

    def __init__(
        self,
        set_timer: Callable[[float, Callable[[], None]], Timer],
        send: Callable[[], None],
        newline: Callable[[], None],
        held: Callable[[], object],
    ) -> None:
        self._set_timer = set_timer
        self._send, self._newline, self._held = send, newline, held
        self._last_key = float("-inf")
        self._waiting: Timer | None = None
        self._several_lines = False

    def key(self, time: float, *, enter: bool) -> bool:
        """Take note of a key; says whether it was an Enter, which is dealt with here.

        Args:
            time: when the key came, in seconds of any clock.
        """
        in_burst = time - self._last_key < _TYPED_S
        self._several_lines &= time - self._last_key < _OVER_S
        self._last_key = time
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None
            self._newline()
            self._several_lines = True
        if not enter:
            return False
        if in_burst or self._several_lines:
            self._waiting = self._set_timer(_WAIT_S, self._end)
        else:
            self._send()
        return True

    def _end(self) -> None:
        """No key came after an Enter: the burst is over."""
        self._waiting = None
        if self._several_lines:
            self._several_lines = False
            self._newline()
            self._held()
        else:
            self._send()
