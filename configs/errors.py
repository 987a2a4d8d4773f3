"""How a command fails: three kinds of error, their exit codes, and the one place that catches them.

    ToolError      exit 1   the work failed            (bad checkpoint, engine refused)
    ConfigError    exit 2   settings, flags or files   (unknown key, missing column)
    MachineError   exit 3   this machine lacks it      (extra, GPU, disk, memory)

An interrupted command exits 130. Every failure is one sentence on stderr that names the thing and the remedy.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any, NoReturn

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_DISK_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_NOT_WRITABLE = {errno.EROFS}
_STAGED = re.compile(r"\.([^/\\]+)\.\d+\.(?:partial|old)(?=$|[/\\])")
_FINAL_NAME = r"\1"

Handler = Callable[[argparse.Namespace], int | None]


class ToolError(Exception):
    """The work failed. `str()` gives one sentence, with the remedy after it where there is one."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(ToolError):
    """A setting, a flag or an input file is wrong, and its owner can mend it."""

    exit_code = 2


class MachineError(ToolError):
    """This machine lacks something: an extra, a GPU, disk space, memory."""

    exit_code = 3


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Raises:
        MachineError: the module is not installed.
    """
    try:
        with held_signals():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MachineError(
            f"the package {(error.name or module).split('.')[0]} is not installed",
            hint=f"pip install 'lora2edge[{extra}]'",
        ) from error


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for a word that is not known: the nearest one that is, or `otherwise`."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else otherwise


@contextmanager
def held_signals() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block ends, where something of ours answers them, and in the main thread.

    For what must not be cut in half: a process that is being started, whose number nobody has yet, or an extension
    module that is being loaded, which swallows an interrupt or aborts.
    """
    handlers: dict[int, Any] = {}
    arrived: list[tuple[int, FrameType | None]] = []
    if threading.current_thread() is threading.main_thread():
        for ours in (signal.SIGINT, signal.SIGTERM):
            if callable(handler := signal.getsignal(ours)):
                handlers[ours] = handler
                signal.signal(ours, lambda *what: arrived.append(what))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if arrived:
            number, frame = arrived[0]
            handlers[number](number, frame)


class Parser(argparse.ArgumentParser):
    """An argument parser whose error is one sentence too; the parsers of its commands are of the same kind."""

    def error(self, message: str) -> NoReturn:
        """End with the sentence and the remedy, without the usage in front."""
        self.exit(ConfigError.exit_code, f"{self.prog}: error: {message} ({self.prog} --help says more)\n")


def common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every command of the four has."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse `argv`, call the chosen handler (`args.handler`) and turn what it raises into an exit code."""
    args = parser.parse_args(argv)
    handler: Handler | None = getattr(args, "handler", None)
    if handler is None:
        parser.error("no command given")
    signals = _Signals()
    try:
        with signals:
            code = handler(args)
            if sys.stdout is not None:  # `>&-` closes it
                sys.stdout.flush()
            return code or 0
    except KeyboardInterrupt:
        return interrupted(parser.prog)
    except _Terminated:
        return _fail(parser.prog, "terminated", EXIT_TERMINATED)
    except BrokenPipeError:
        # The reader of our stdout has gone (`… | head`): nothing to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if signals.interrupted and isinstance(error, ImportError):
            # An extension module that was just being imported turns the interrupt into an ImportError.
            return interrupted(parser.prog)
        if getattr(args, "debug", False):
            raise
        return _fail(parser.prog, *describe(error))


class _Terminated(BaseException):
    """SIGTERM arrived: unwind, so that staged outputs are removed."""


class _Signals:
    """While a handler runs: SIGTERM unwinds it, and SIGINT is remembered besides interrupting it.

    Only in the main thread (elsewhere signals cannot be set), and only where SIGINT is not ignored or somebody else's.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._terminate)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> NoReturn:
        self.interrupted = True
        raise KeyboardInterrupt

    def _terminate(self, _signal: int, _frame: FrameType | None) -> NoReturn:
        raise _Terminated


def interrupted(prog: str) -> int:
    """Say that the command was interrupted; returns its exit code."""
    return _fail(prog, "interrupted", EXIT_INTERRUPTED)


def describe(error: Exception) -> tuple[str, int]:
    """What a person is told of an error, in one sentence, and the exit code."""
    if isinstance(error, ToolError):
        return f"error: {error}", error.exit_code
    if isinstance(error, OSError):
        # A staged output's own name means nothing to the user: show the one it was to get.
        name = f"{_STAGED.sub(_FINAL_NAME, str(error.filename))}: " if error.filename else ""
        if error.errno in _DISK_FULL:
            return (
                f"error: {name}the disk is full (free some space and run the same command again)",
                MachineError.exit_code,
            )
        hint = " (choose a place that can be written)" if error.errno in _NOT_WRITABLE else ""
        return f"error: {name}{error.strerror or error}{hint}", ToolError.exit_code
    if isinstance(error, MemoryError):
        return "error: out of memory", MachineError.exit_code
    text = " ".join(str(error).split())
    return f"error: unexpected {type(error).__name__}: {text} (run again with --debug for the traceback)", 1


def _fail(prog: str, sentence: str, code: int) -> int:
    sys.stderr.write(f"{prog}: {sentence}\n")
    sys.stderr.flush()
    return code
