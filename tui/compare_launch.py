"""Opens a comparison on what stands in front of the program: a screen, or a plain stream of text."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from configs.errors import ConfigError
from runtime.engine import Engine, ModelOptions, load_engine
from tui.keys import read_keys, use_keys
from tui.launch import can_show_screen
from tui.words import choose

if TYPE_CHECKING:
    from tui.compare.preparing import Prepared
    from tui.compare.settings import CompareSettings
    from tui.settings import Load

_LEAVE_WITHIN_S = 0.5


def compare(settings: CompareSettings, *, no_tui: bool = False, as_json: bool = False) -> int:
    """Compare two models and return the exit code.

    Raises:
        ConfigError: the files are not what they should be, or there is nothing to read from.
        ToolError: a model could not be loaded, or could not answer.
    """

    def prepared() -> Prepared:
        from tui.compare.preparing import prepare

        return prepare(settings)

    first, second = (partial(_load, options) for options in settings.models)
    return compare_with(settings, prepared, (first, second), no_tui=no_tui, as_json=as_json)


def compare_with(
    settings: CompareSettings,
    prepare: Callable[[], Prepared],
    loads: tuple[Load, Load],
    *,
    no_tui: bool = False,
    as_json: bool = False,
) -> int:
    """`compare`, with what prepares and loads."""
    choose(settings.language)
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if no_tui or as_json or not can_show_screen(streams, os.environ):
        return _plainly(settings, prepare, loads, as_json=as_json)
    return _on_screen(settings, prepare, loads)


def _plainly(
    settings: CompareSettings, prepare: Callable[[], Prepared], loads: tuple[Load, Load], *, as_json: bool
) -> int:
    from tui.compare.plain import PlainCompare
    from tui.text import visible

    if sys.stdin is None and settings.prompt is None and settings.sheet is None:
        raise ConfigError("standard input is closed", hint="ask with --prompt TEXT, or name a sheet")
    prepared = prepare()
    sys.stderr.writelines(f"{visible(note)}\n" for note in prepared.notes)
    run = PlainCompare(settings, prepared, loads, (sys.stdin, sys.stdout, sys.stderr))
    try:
        return run.texts(as_json=as_json) if settings.sheet is None else run.sheet(as_json=as_json)
    finally:
        run.close()


def _on_screen(settings: CompareSettings, prepare: Callable[[], Prepared], loads: tuple[Load, Load]) -> int:
    from tui.chats.preferences import StoredPreferences
    from tui.compare.worker import CompareWorker
    from tui.compare_app import CompareApp
    from tui.house import run

    use_keys(read_keys(settings.data_folder))
    preferences = StoredPreferences(settings.data_folder)
    worker = CompareWorker(prepare, loads)

    def close() -> bool:
        gone = worker.close(_LEAVE_WITHIN_S)
        preferences.close()
        return gone

    return run(CompareApp(worker, settings, preferences), close)


def _load(options: ModelOptions, on_progress: Callable[[float], bool]) -> Engine:
    return load_engine(options, on_progress=on_progress)
