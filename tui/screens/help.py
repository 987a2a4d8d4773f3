"""The help: every key and command on one card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.commands import ARGUMENTS, NAMES
from tui.keys import keyed
from tui.words import words
from tui.words.catalog import Row


class HelpScreen(ModalScreen[None]):
    """Shows rows of a key or command and what it does. Closed by Esc, F1, Enter or a click beside the card."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", id="help.close", priority=True),
        Binding("up", "scroll(-1)", show=False, priority=True),
        Binding("down", "scroll(1)", show=False, priority=True),
    ]

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self._rows = rows

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help-card") as card:
            card.border_title = Content(words().help_title)
            card.border_subtitle = Content(words().close_hint)
            yield Static(help_content(self._rows))

    def on_click(self) -> None:
        self.action_close()

    def action_close(self) -> None:
        self.dismiss()

    def action_scroll(self, lines: int) -> None:
        self.query_one("#help-card").scroll_relative(y=lines, animate=False)


def help_content(rows: Sequence[Row]) -> Content:
    """Lay out keys and commands, and what they do, in two columns."""
    width = max((cell_len(key) for key, _ in rows), default=0)
    lines = [
        Content.assemble((f"{key}{' ' * (width - cell_len(key))}", "bold $primary"), "  ", meaning)
        for key, meaning in rows
    ]
    return Content("\n").join(lines)


def chat_rows() -> list[Row]:
    """The chat's keys, then its commands."""
    commands = [(f"/{name} {ARGUMENTS.get(name, '')}".strip(), words().command_help[name]) for name in NAMES]
    return [*keyed(words().help_keys, "chat", "prompt", "message"), ("", ""), *commands]
