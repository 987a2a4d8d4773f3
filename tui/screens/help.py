"""The help: every key and command on one card."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import words


class HelpScreen(ModalScreen[None]):
    """Closed by Esc, F1, Enter or a click beside the card."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", words.HELP_CLOSE, id="help.close", priority=True)
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help-card") as card:
            card.border_title = words.HELP_TITLE
            card.border_subtitle = words.HELP_CLOSE
            yield Static(help_content())

    def on_click(self) -> None:
        self.action_close()

    def action_close(self) -> None:
        self.dismiss()


def help_content() -> Content:
    """Lay out keys and what they do in two columns."""
    width = max(len(keys) for keys, _ in words.HELP_ROWS)
    rows = [Content.assemble((keys.ljust(width), "bold $primary"), "   ", meaning) for keys, meaning in words.HELP_ROWS]
    return Content("\n").join(rows)
