"""The first line of the screen: the program and the model."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from tui.words import APP_NAME


class TitleBar(Horizontal):
    """Shows two names and does nothing."""

    def __init__(self, model_label: str) -> None:
        super().__init__(id="title-bar")
        self._model_label = model_label

    def name_model(self, label: str) -> None:
        """Show another model's name."""
        self.query_one("#title-model", Static).update(Content(label))

    def compose(self) -> ComposeResult:
        yield Static(Content(APP_NAME), id="title-app")
        yield Static(Content(self._model_label), id="title-model")
