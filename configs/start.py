"""Where the four commands start: an interrupt while Python still imports them ends as any other."""

from __future__ import annotations

import importlib
import signal


def trainer() -> int:
    """Run `trainer`."""
    return _start("trainer")


def exporter() -> int:
    """Run `exporter`."""
    return _start("exporter")


def runtime() -> int:
    """Run `runtime`."""
    return _start("runtime")


def tui() -> int:
    """Run `tui`."""
    return _start("tui")


def _start(room: str) -> int:
    try:
        main = importlib.import_module(f"{room}.cli").main
    except KeyboardInterrupt:
        from configs.errors import interrupted

        return interrupted(room)
    code: int = main()
    # The work is done and told: a second Ctrl-C could only interrupt Python's own leave-taking, with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code
