"""Paints an app into a browser's terminal instead of this process's own.

Textual's own WebDriver is a process for every tab, and so would be the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.driver import Driver
from textual.geometry import Size

_ESCAPE_S = 0.12
"""After so long an Esc is a key, and not the beginning of a sequence."""
_START = (
    "\x1b[?1049h"  # alternate screen
    "\x1b[?1000h\x1b[?1003h\x1b[?1015h\x1b[?1006h"  # mouse
    "\x1b[?25l"  # no cursor
    "\x1b[?2026$p"  # can it hold frames back?
    "\x1b[?2004h"  # pastes in brackets
)


class BrowserDriver(Driver):
    """One tab. Its socket is read and written in the loop that runs the app."""

    send: Callable[[bytes], None]
    """Takes what is painted; set by `driver_to`."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._parser = XTermParser(debug)

    @property
    def is_web(self) -> bool:
        return True

    def write(self, data: str) -> None:
        type(self).send(data.encode("utf-8", "replace"))

    def start_application_mode(self) -> None:
        self.write(_START)
        width, height = self._size or (80, 24)
        self.resize(width, height)

    def disable_input(self) -> None:
        """Nothing to do: the socket is the server's."""

    def stop_application_mode(self) -> None:
        self.write("\x1b[?25h")

    def feed(self, data: str) -> None:
        """What the person typed, pasted or clicked."""
        for event in self._parser.feed(data):
            self.process_message(event)
        asyncio.get_running_loop().call_later(_ESCAPE_S, self._tick)

    def resize(self, width: int, height: int) -> None:
        """The tab has another size now, in cells."""
        self._size = (width, height)
        size = Size(width, height)
        self._app.post_message(events.Resize(size, size))

    def focus(self, focused: bool) -> None:
        """The tab has the keyboard, or no more."""
        self._app.post_message(events.AppFocus() if focused else events.AppBlur())

    def open_url(self, url: str, new_tab: bool = True) -> None:
        """Links are not followed: a model may have written them."""

    def _tick(self) -> None:
        for event in self._parser.tick():
            self.process_message(event)


def driver_to(send: Callable[[bytes], None]) -> type[BrowserDriver]:
    """A driver that paints into `send`."""
    return type("TabDriver", (BrowserDriver,), {"send": staticmethod(send)})
