"""Opens a chat on what stands in front of the program: a screen, or a plain stream of text."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from configs.errors import ConfigError
from tui.exam.settings import ExamSettings
from tui.keys import read_keys, use_keys
from tui.settings import ChatSettings, Models
from tui.words import choose

if TYPE_CHECKING:
    from tui.exam.worker import LoadEngine

_LEAVE_WITHIN_S = 0.5


def chat(settings: ChatSettings, models: Models, *, no_tui: bool = False) -> int:
    """Hold the chat and return the exit code.

    Raises:
        ConfigError: there is nothing to read from.
        ToolError: the model could not be loaded, or could not answer a pipe.
    """
    choose(settings.language)
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if no_tui or not can_show_screen(streams, os.environ):
        from tui.plain import chat_plainly

        if sys.stdin is None and settings.prompt is None:
            raise ConfigError("standard input is closed", hint="echo 你好 | tui chat --model M.gguf")
        return chat_plainly(settings, models.first, *streams)
    return chat_on_screen(settings, models)


def can_show_screen(streams: Sequence[TextIO | None], environment: Mapping[str, str]) -> bool:
    """Say whether all three streams are a terminal that can paint.

    Standard error counts too: it is the one that Textual paints on.
    """
    return environment.get("TERM") != "dumb" and all(stream is not None and stream.isatty() for stream in streams)


def chat_on_screen(settings: ChatSettings, models: Models) -> int:
    """Run the app until it is left.

    Raises:
        ToolError: the model could not be loaded (raised when the terminal is itself again).
    """
    from tui.app import ChatApp
    from tui.house import run
    from tui.opening import open_keeper
    from tui.worker import ChatWorker

    use_keys(read_keys(settings.data_folder))
    keeper = open_keeper(settings)
    worker = ChatWorker(models)

    def close() -> bool:
        gone = worker.close(_LEAVE_WITHIN_S)
        keeper.close()
        return gone

    return run(ChatApp(worker, keeper, settings.prompt), close)


def predict(settings: ExamSettings, *, no_tui: bool = False) -> int:
    """Hold the exam and return the exit code.

    Without a screen this is `runtime predict`: the same run, the same words, the same exit codes.

    Raises:
        ConfigError: a wrong file or flag, or no sheet is named and there is no screen to choose one on.
        ToolError: the work failed.
    """
    choose(settings.language)
    if no_tui or not can_show_screen((sys.stdin, sys.stdout, sys.stderr), os.environ):
        from tui.exam.plain import predict_plainly

        return predict_plainly(settings)
    from runtime.engine import load_engine

    return predict_on_screen(settings, load_engine)


def predict_on_screen(settings: ExamSettings, load: LoadEngine) -> int:
    """Run the exam room until it is left.

    Raises:
        ToolError: the model's file is none that can answer.
    """
    from tui.chats.preferences import StoredPreferences
    from tui.exam.worker import ExamWorker
    from tui.exam_app import ExamApp
    from tui.house import run

    use_keys(read_keys(settings.data_folder))
    preferences = StoredPreferences(settings.data_folder)
    worker = ExamWorker(load)

    def close() -> bool:
        gone = worker.close(_LEAVE_WITHIN_S)
        preferences.close()
        return gone

    return run(ExamApp(worker, settings, preferences), close)
