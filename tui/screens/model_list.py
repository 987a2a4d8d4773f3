"""The models there are: choose one, or write the path of another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.chats.models import ModelFile, choices
from tui.text import visible
from tui.words import words

_GIB = 1 << 30


class ModelListScreen(ModalScreen[Path | None]):
    """Its result is the file to load."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="models.close", priority=True),
        Binding("up", "move(-1)", "Up", id="models.up", priority=True),
        Binding("down", "move(1)", "Down", id="models.down", priority=True),
    ]

    def __init__(self, current: Path, recent: Sequence[Path]) -> None:
        super().__init__()
        self._current, self._recent = current, recent
        self._all: list[ModelFile] = []
        self._shown: list[ModelFile] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="chats-card") as card:
            card.border_title = Content(words().models_title)
            card.border_subtitle = Content(words().models_keys)
            yield Input(placeholder=words().models_search)
            yield OptionList()
            yield Static(Content(words().models_reading), id="chats-note")

    async def on_mount(self) -> None:
        # Headers of large vocabularies take a tenth of a second each.
        self._all = await asyncio.to_thread(choices, self._current, self._recent)
        self._list()

    @property
    def _options(self) -> OptionList:
        return self.query_one(OptionList)

    @on(Input.Changed)
    def search(self) -> None:
        """Every key narrows the list."""
        self._list()

    @on(Input.Submitted)
    def choose(self, event: Input.Submitted) -> None:
        """Take the chosen one; where none fits, what was written is a path."""
        at = self._options.highlighted
        if self._shown:
            self.dismiss(self._shown[at or 0].path)
        elif written := event.value.strip():
            self.dismiss(Path(written).expanduser())

    @on(OptionList.OptionSelected)
    def choose_clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index].path)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        if self._shown:
            at = (self._options.highlighted or 0) + step
            self._options.highlighted = min(max(at, 0), len(self._shown) - 1)

    def _list(self) -> None:
        wanted = self.query_one(Input).value.strip().casefold()
        self._shown = [model for model in self._all if wanted in str(model.path).casefold()]
        width = max((cell_len(visible(model.path.name)) for model in self._shown), default=0)
        self._options.clear_options()
        self._options.add_options([Option(self._line(model, width)) for model in self._shown])
        if self._shown:
            current = [at for at, model in enumerate(self._shown) if model.path == self._current.absolute()]
            self._options.highlighted = current[0] if current and not wanted else 0
        self.query_one("#chats-note", Static).update(Content("" if self._shown else words().models_none))

    def _line(self, model: ModelFile, width: int) -> Content:
        name = visible(model.path.name)
        return Content.assemble(
            ("● " if model.path == self._current.absolute() else "  ", "$success"),
            (name + " " * (width - cell_len(name)), "bold"),
            (f"  {model.size_bytes / _GIB:6.2f} GiB  {visible(str(model.path.parent))}", "$foreground 60%"),
        )
