"""A terminal that is gone: a closed window, a lost connection.

Textual hands its output to a thread, through a queue of 30 pieces. A write to a terminal that is gone ends that thread,
and who then writes the 31st piece waits for ever: the program would stay, with its model, after its window is closed.
"""

from __future__ import annotations

import contextlib

from textual.drivers._writer_thread import WriterThread


class LenientWriter(WriterThread):
    """Writes as long as somebody reads; after that it takes what it is given, until it is stopped."""

    def run(self) -> None:
        try:
            super().run()
        except (OSError, ValueError):  # hung up, or closed
            while self._queue.get() is not None:
                pass


def outlive_the_terminal() -> None:
    """Have every screen of this process write through a `LenientWriter`."""
    with contextlib.suppress(ImportError):  # Windows: its consoles end their programs themselves
        from textual.drivers import linux_driver

        linux_driver.WriterThread = LenientWriter  # type: ignore[attr-defined]
