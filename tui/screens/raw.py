"""The raw view: the conversation as the model reads it, its special tokens marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.text import visible
from tui.words import words

if TYPE_CHECKING:  # pydantic and jinja2 are for the thread that loads the model
    from configs.prompt import Rendered


class RawScreen(ModalScreen[None]):
    """Closed by Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", "Close", id="raw.close", priority=True)]

    def __init__(self, rendered: Rendered) -> None:
        super().__init__()
        self._rendered = rendered

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="raw-card") as card:
            card.border_title = Content(words().raw_title)
            card.border_subtitle = Content(words().close_hint)
            yield Static(raw_content(self._rendered))

    def on_mount(self) -> None:
        self.query_one("#raw-card").focus()

    def action_close(self) -> None:
        self.dismiss()


def raw_content(rendered: Rendered) -> Content:
    """Every character, with what the template wrote as special tokens in reverse."""
    pieces = [(visible(piece.text), "reverse $accent" if piece.special else "") for piece in rendered.pieces]
    return Content.assemble(*pieces)
