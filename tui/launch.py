"""Opens a chat on what stands in front of the program: a screen, or a plain stream of text."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from configs.errors import ConfigError
from tui.settings import ChatSettings, Load
from tui.words import choose

_LEAVE_WITHIN_S = 0.5


def chat(settings: ChatSettings, load: Load, *, no_tui: bool = False) -> int:
    """Hold the chat and return the exit code.

    Raises:
        ConfigError: there is nothing to read from.
        ToolError: the model could not be loaded, or could not answer a pipe.
    """
    choose(settings.language)
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if no_tui or not can_show_screen(streams, os.environ):
        from tui.plain import chat_plainly

        if sys.stdin is None:
            raise ConfigError("standard input is closed", hint="echo 你好 | tui chat --model M.gguf")
        return chat_plainly(settings, load, *streams)
    return chat_on_screen(settings, load)


def can_show_screen(streams: Sequence[TextIO | None], environment: Mapping[str, str]) -> bool:
    """Say whether all three streams are a terminal that can paint.

    Standard error counts too: it is the one that Textual paints on.
    """
    return environment.get("TERM") != "dumb" and all(stream is not None and stream.isatty() for stream in streams)


def chat_on_screen(settings: ChatSettings, load: Load) -> int:
    """Run the app until it is left.

    Raises:
        ToolError: the model could not be loaded (raised when the terminal is itself again).
    """
    from tui.app import ChatApp
    from tui.house import run
    from tui.opening import open_keeper
    from tui.worker import ChatWorker

    keeper = open_keeper(settings)
    worker = ChatWorker(load, adapters=settings.options.adapters)

    def close() -> bool:
        gone = worker.close(_LEAVE_WITHIN_S)
        keeper.close()
        return gone

    return run(ChatApp(worker, keeper), close)
