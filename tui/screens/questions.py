"""Two small questions: are you sure, and what shall it be called."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.text import visible
from tui.words import words


class ConfirmScreen(ModalScreen[bool]):
    """Asks before something is lost: only Y says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes", priority=True),
        Binding("n,escape,enter", "answer(False)", "No", id="confirm.no", priority=True),
    ]

    def __init__(self, question: str, keys: str = "") -> None:
        """`keys`: what Y and N do; by default that Y deletes."""
        super().__init__()
        self._question = question
        self._keys = keys or words().confirm_keys

    def compose(self) -> ComposeResult:
        with Vertical(classes="question-card"):
            yield Static(Content(visible(self._question)))
            yield Static(Content(self._keys), classes="keys")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class LineScreen(ModalScreen[str]):
    """Asks for one line; the result is empty if the person gave up."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "Close", id="line.close", priority=True)]

    def __init__(self, title: str, value: str) -> None:
        super().__init__()
        self._title, self._value = title, value

    def compose(self) -> ComposeResult:
        with Vertical(classes="question-card") as card:
            card.border_title = Content(self._title)
            yield Input(self._value, select_on_focus=False)

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        self.dismiss(visible(event.value).strip())

    def action_give_up(self) -> None:
        self.dismiss("")
