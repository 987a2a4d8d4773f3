"""The exam room's app: its screen, and its commands in the palette."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import SystemCommand
from textual.screen import Screen

from tui.exam.messages import ModelRefused
from tui.exam.settings import ExamSettings
from tui.exam.worker import ExamWorker
from tui.house import HouseApp, Preferences
from tui.keys import keyed
from tui.screens.exam import ExamScreen
from tui.screens.help import HelpScreen
from tui.words import words


class ExamApp(HouseApp):
    """A person in front of a model that sits an exam.

    Args:
        worker: not started yet; the screen starts it when it can show what it says.
    """

    def __init__(self, worker: ExamWorker, settings: ExamSettings, preferences: Preferences) -> None:
        super().__init__(preferences)
        self._worker = worker
        self._settings = settings

    def get_default_screen(self) -> Screen[None]:
        return ExamScreen(self._worker, self._settings)

    def on_model_refused(self, event: ModelRefused) -> None:
        """Leave: no sheet can be answered with it."""
        self.fail(event.error)

    def help_screen(self) -> HelpScreen:
        return HelpScreen(keyed(words().exam.help_keys, "exam"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, ExamScreen):
            said = words().exam.palette
            yield SystemCommand(*said["run"], screen.action_run)
            yield SystemCommand(*said["stop"], screen.action_stop)
            yield SystemCommand(*said["sheet"], screen.action_choose)
            yield SystemCommand(*said["columns"], screen.action_columns)
            yield SystemCommand(*said["restart"], screen.action_restart)
            yield SystemCommand(*said["export"], screen.action_export)
            yield SystemCommand(*said["find"], screen.action_find)
            yield SystemCommand(*said["order"], screen.action_order)
            yield SystemCommand(*said["details"], screen.action_details)
        yield from super().get_system_commands(screen)
