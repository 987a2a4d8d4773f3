"""What every app of the house has: its themes, its keys for every screen, and how it is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, Protocol

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui.keys import chosen_keys
from tui.lost_terminal import outlive_the_terminal
from tui.screens.help import HelpScreen
from tui.theme import NIGHT, THEMES
from tui.words import APP_NAME, words

_THEME = "theme"
# By name: Windows lacks SIGHUP. A shell reports 128 + the signal's number.
_LEAVING_SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT")
_SIGNALLED = 128


class Preferences(Protocol):
    """What the person chose for every screen, kept somewhere."""

    def preference(self, name: str) -> str | None:
        """The choice; None if there is none."""
        ...

    def prefer(self, name: str, value: str) -> None:
        """Remember a choice."""
        ...


class HouseApp(App[None]):
    """A person in front of a model, in one way or another.

    A screen that has something to do at Ctrl+C with nothing selected has a method `answer_interrupt`.
    """

    TITLE = APP_NAME
    CSS_PATH = Path(__file__).with_name("styles.tcss")  # a name alone would be sought beside the subclass
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="help", priority=True),
        Binding("ctrl+q", "quit", "Quit", id="quit", priority=True),
    ]

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self.own_process = True
        """Whether signals end this app; not where a server runs several."""
        self.failure: Exception | None = None
        """What ended the app, to be told when the terminal is itself again."""
        self._preferences = preferences
        for theme in THEMES:
            self.register_theme(theme)
        chosen = preferences.preference(_THEME)
        self.theme = chosen if chosen in self.available_themes else NIGHT.name

    def on_mount(self) -> None:
        self.set_keymap(chosen_keys())
        self.theme_changed_signal.subscribe(self, lambda theme: self._preferences.prefer(_THEME, theme.name))
        loop = asyncio.get_running_loop()
        for name in _LEAVING_SIGNALS if self.own_process else ():
            number = getattr(signal, name, None)
            if number is not None:
                self._leave_on(loop, number)

    def _leave_on(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        """Restore the terminal when the signal arrives: its default action would leave it as it is."""
        # Windows has no such handlers, and threads other than the main one may not set them.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, lambda: self.exit(return_code=_SIGNALLED + number))

    def fail(self, error: Exception) -> None:
        """Leave: the command reports the error when the screen is gone."""
        self.failure = error
        self.exit(return_code=getattr(error, "exit_code", 1))

    def _handle_exception(self, error: Exception) -> None:
        # Textual would print a page of traceback with local variables, among them what was said.
        self.failure = self.failure or error
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()  # the command reports `failure` in one sentence, or with --debug in full

    def action_help(self) -> None:
        """Open the help, or close it."""
        if isinstance(self.screen, HelpScreen):
            self.screen.action_close()
        else:
            self.push_screen(self.help_screen())

    def help_screen(self) -> HelpScreen:
        """The keys and commands of this app."""
        raise NotImplementedError

    def action_help_quit(self) -> None:
        if (answer := getattr(self.screen, "answer_interrupt", None)) is not None:
            answer()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield SystemCommand(*words().palette["theme"], self.action_change_theme)
        yield SystemCommand(*words().palette["help"], self.action_help)
        yield SystemCommand(*words().palette["quit"], self.action_quit)


def run(app: HouseApp, close: Callable[[], bool]) -> int:
    """Run the app until it is left, and return its exit code.

    Args:
        close: ends what works behind the screen; says whether it was gone within its time.

    Raises:
        Exception: what ended the app (raised when the terminal is itself again).
    """
    outlive_the_terminal()
    try:
        app.run()
    finally:
        gone = close()
    if app.failure is not None:
        raise app.failure
    code = app.return_code or 0
    if not gone or code > _SIGNALLED:  # a terminal that is gone may hold a thread of Textual's
        _leave_at_once(code)
    return code


def _leave_at_once(code: int) -> None:
    """End the process without the interpreter's shutdown, which waits for threads.

    One that is still inside llama.cpp would run on while its libraries are being torn down.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a terminal that is gone
            stream.flush()
    os._exit(code)
