"""The chat's app: its screen, and its commands in the palette."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import SystemCommand
from textual.screen import Screen

from tui.chats.keeper import ChatKeeper
from tui.house import HouseApp
from tui.screens.chat import ChatScreen
from tui.screens.help import HelpScreen, chat_rows
from tui.words import words
from tui.worker import ChatWorker


class ChatApp(HouseApp):
    """A person who talks to a model.

    Args:
        worker: not started yet; the chat screen starts it when it can show what it says.
        keeper: holds the chat to begin with.
        prompt: what to say first; None waits for the person.
    """

    def __init__(self, worker: ChatWorker, keeper: ChatKeeper, prompt: str | None = None) -> None:
        super().__init__(keeper)
        self._worker = worker
        self._keeper = keeper
        self._prompt = prompt

    def get_default_screen(self) -> Screen[None]:
        return ChatScreen(self._worker, self._keeper, self._prompt)

    def on_talk_screen_load_error(self, event: ChatScreen.LoadError) -> None:
        self.fail(event.error)

    def help_screen(self) -> HelpScreen:
        return HelpScreen(chat_rows())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, ChatScreen):
            yield SystemCommand(*words().palette["new"], screen.action_new_conversation)
            yield SystemCommand(*words().palette["chats"], screen.action_chats)
            yield SystemCommand(*words().palette["stop"], screen.action_stop)
            yield SystemCommand(*words().palette["regen"], screen.action_regenerate)
            yield SystemCommand(*words().palette["continue"], screen.action_continue)
            yield SystemCommand(*words().palette["model"], screen.action_models)
            yield SystemCommand(*words().palette["raw"], screen.action_raw)
        yield from super().get_system_commands(screen)
