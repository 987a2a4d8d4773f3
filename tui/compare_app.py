"""The app of the comparison: texts, or a sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

from tui.compare.messages import CompareFailed
from tui.compare.worker import CompareWorker
from tui.house import HouseApp, Preferences
from tui.keys import keyed
from tui.screens.help import HelpScreen
from tui.words.comparing import compare_words

if TYPE_CHECKING:
    from tui.compare.settings import CompareSettings


class CompareApp(HouseApp):
    """A person who asks two models the same.

    Args:
        worker: not started yet; the screen starts it when it can show what it says.
    """

    def __init__(self, worker: CompareWorker, settings: CompareSettings, preferences: Preferences) -> None:
        super().__init__(preferences)
        self._worker = worker
        self._settings = settings

    def get_default_screen(self) -> Screen[None]:
        if self._settings.sheet is None:
            from tui.screens.compare_texts import CompareTexts

            return CompareTexts(self._worker, self._settings)
        from tui.screens.compare_sheet import CompareSheet

        return CompareSheet(self._worker, self._settings)

    def on_compare_failed(self, event: CompareFailed) -> None:
        self.fail(event.error)

    def help_screen(self) -> HelpScreen:
        said = compare_words()
        if self._settings.sheet is None:
            return HelpScreen(keyed(said.help_keys, "compare", "prompt"))
        return HelpScreen(keyed(said.sheet_help_keys, "sheet"))
