"""A terminal that is gone: a closed window, a lost connection.

The kernel then sends SIGHUP and SIGCONT. Textual takes SIGCONT for the end of a suspension and starts its threads a
second time: the first ones are never stopped, and one of them reads the end of its input over and over. And its output
goes through a queue of 30 pieces to a thread that a failing write ends: who writes the 31st waits for ever. Either way
the program would stay, with its model, after its window is closed.
"""

from __future__ import annotations

import contextlib
from typing import Any

from textual.drivers._writer_thread import WriterThread


class LenientWriter(WriterThread):
    """Writes as long as somebody reads; after that it takes what it is given, until it is stopped."""

    def run(self) -> None:
        try:
            super().run()
        except (OSError, ValueError):  # hung up, or closed
            while self._queue.get() is not None:
                pass


def resume_what_was_suspended(driver: Any, *_: object) -> None:
    """Textual's answer to SIGCONT, where a SIGTSTP came before it."""
    if driver._auto_restart and driver._must_signal_resume:
        driver.resume_application_mode()


def outlive_the_terminal() -> None:
    """Have every screen of this process write, and resume, like this."""
    with contextlib.suppress(ImportError):  # Windows: its consoles end their programs themselves
        from textual.drivers import linux_driver

        linux_driver.WriterThread = LenientWriter  # type: ignore[attr-defined]
        linux_driver.LinuxDriver._sigcont_application = resume_what_was_suspended  # type: ignore[method-assign, assignment]
