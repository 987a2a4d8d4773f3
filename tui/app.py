"""The app: its screens, its keys for every screen, its themes, and how it is left."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui.chats.keeper import ChatKeeper
from tui.screens.chat import ChatScreen
from tui.screens.help import HelpScreen
from tui.theme import NIGHT, THEMES
from tui.words import APP_NAME, words
from tui.worker import ChatWorker

_THEME = "theme"
# By name: Windows lacks SIGHUP. A shell reports 128 + the signal's number.
_LEAVING_SIGNALS = ("SIGTERM", "SIGHUP", "SIGINT")


class ChatApp(App[None]):
    """A person in front of a model.

    Args:
        worker: not started yet; the chat screen starts it when it can show what it says.
        keeper: holds the chat to begin with.
    """

    TITLE = APP_NAME
    CSS_PATH = "styles.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="help", priority=True),
        Binding("ctrl+q", "quit", "Quit", id="quit", priority=True),
    ]

    def __init__(self, worker: ChatWorker, keeper: ChatKeeper) -> None:
        super().__init__()
        self.failure: Exception | None = None
        """What ended the app, to be told when the terminal is itself again."""
        self._worker = worker
        self._keeper = keeper
        for theme in THEMES:
            self.register_theme(theme)
        chosen = keeper.preference(_THEME)
        self.theme = chosen if chosen in self.available_themes else NIGHT.name

    def get_default_screen(self) -> Screen[None]:
        return ChatScreen(self._worker, self._keeper)

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda theme: self._keeper.prefer(_THEME, theme.name))
        loop = asyncio.get_running_loop()
        for name in _LEAVING_SIGNALS:
            number = getattr(signal, name, None)
            if number is not None:
                self._leave_on(loop, number)

    def _leave_on(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        """Restore the terminal when the signal arrives: its default action would leave it as it is."""
        # Windows has no such handlers, and threads other than the main one may not set them.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, lambda: self.exit(return_code=128 + number))

    def on_talk_screen_load_error(self, event: ChatScreen.LoadError) -> None:
        """Leave: the command reports the error when the screen is gone."""
        self.failure = event.error
        self.exit(return_code=getattr(event.error, "exit_code", 1))

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
            self.push_screen(HelpScreen())

    def action_help_quit(self) -> None:
        if isinstance(self.screen, ChatScreen):
            self.screen.answer_interrupt()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, ChatScreen):
            yield SystemCommand(*words().palette["new"], screen.action_new_conversation)
            yield SystemCommand(*words().palette["chats"], screen.action_chats)
            yield SystemCommand(*words().palette["stop"], screen.action_stop)
            yield SystemCommand(*words().palette["regen"], screen.action_regenerate)
            yield SystemCommand(*words().palette["continue"], screen.action_continue)
            yield SystemCommand(*words().palette["raw"], screen.action_raw)
        yield SystemCommand(*words().palette["theme"], self.action_change_theme)
        yield SystemCommand(*words().palette["help"], self.action_help)
        yield SystemCommand(*words().palette["quit"], self.action_quit)
