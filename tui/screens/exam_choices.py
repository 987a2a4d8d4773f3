"""Two cards to choose from: a sheet from a folder, and what to export."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.exam.dropped import path_of
from tui.exam.settings import is_sheet
from tui.text import visible
from tui.words import words

_UP = ".."
_JOURNAL = ".journal.jsonl"


class PathInput(Input):
    """A line for a path. A sheet that is dropped on the terminal arrives as a pasted path, and is taken at once."""

    class Dropped(Message):
        """A sheet's path was pasted."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    def _on_paste(self, event: events.Paste) -> None:
        path = path_of(event.text)
        if path is not None and is_sheet(path):
            event.prevent_default()
            event.stop()
            self.post_message(self.Dropped(path))


class ChooserScreen(ModalScreen[Path | None]):
    """Folders and sheets of one folder after another; its result is a sheet."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="chooser.close", priority=True),
        Binding("up", "move(-1)", "Up", id="chooser.up", priority=True),
        Binding("down", "move(1)", "Down", id="chooser.down", priority=True),
        Binding("pageup", "move(-10)", "Page up", id="chooser.page_up", priority=True),
        Binding("pagedown", "move(10)", "Page down", id="chooser.page_down", priority=True),
    ]

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._shown: list[Path] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="chooser-card", classes="list-card") as card:
            card.border_title = Content(words().exam.choose_title)
            card.border_subtitle = Content(words().exam.choose_keys)
            yield PathInput(placeholder=words().exam.choose_placeholder)
            yield Static(id="chooser-folder")
            yield OptionList()
            yield Static(id="chooser-note")

    def on_mount(self) -> None:
        self._list("")

    @property
    def _options(self) -> OptionList:
        return self.query_one(OptionList)

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        """Part of a name narrows the list; a path is looked at when Enter is pressed."""
        self.query_one("#chooser-note", Static).update("")
        self._list("" if _is_path(event.value) else event.value)

    @on(Input.Submitted)
    def take_typed(self, event: Input.Submitted) -> None:
        path = path_of(event.value) if _is_path(event.value) else None
        at = self._options.highlighted
        if path is not None:
            self._take(self._folder / path)
        elif at is not None and at < len(self._shown):
            self._take(self._shown[at])

    @on(OptionList.OptionSelected)
    def take_clicked(self, event: OptionList.OptionSelected) -> None:
        self._take(self._shown[event.option_index])

    @on(PathInput.Dropped)
    def take_dropped(self, event: PathInput.Dropped) -> None:
        self.dismiss(event.path)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_move(self, lines: int) -> None:
        if self._shown:
            at = (self._options.highlighted or 0) + lines
            self._options.highlighted = min(max(at, 0), len(self._shown) - 1)

    def _take(self, path: Path) -> None:
        if path.is_dir():
            self._folder = path
            self.query_one(Input).value = ""
            self._list("")
        elif is_sheet(path):
            self.dismiss(path)
        else:
            said = words().exam.no_such_sheet.format(path=visible(str(path)))
            self.query_one("#chooser-note", Static).update(Content.styled(said, "$warning"))

    def _list(self, part: str) -> None:
        folder = self._folder.absolute()
        self.query_one("#chooser-folder", Static).update(Content.styled(visible(str(folder)), "$foreground 60%"))
        entries = _entries(folder)
        self._shown = [path for path in entries if part.strip().casefold() in path.name.casefold()]
        lines = [_entry(path) for path in self._shown]
        if folder.parent != folder and not part.strip():
            self._shown.insert(0, folder.parent)
            lines.insert(0, Content.styled(f"{_UP}/", "$primary"))
        self._options.clear_options()
        self._options.add_options([Option(line) for line in lines])
        first_sheet = next((at for at, path in enumerate(self._shown) if path.suffix and not path.is_dir()), 0)
        self._options.highlighted = first_sheet if self._shown else None
        if not any(not path.is_dir() for path in self._shown):
            self.query_one("#chooser-note", Static).update(Content.styled(words().exam.choose_none, "$foreground 60%"))


class ExportScreen(ModalScreen[int | None]):
    """Its result is the number of a line."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close", id="export.close", priority=True)]

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical(classes="question-card") as card:
            card.border_title = Content(words().exam.export_title)
            card.border_subtitle = Content(words().exam.export_keys)
            yield OptionList(*(Option(Content(line)) for line in self._lines))

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index)

    def action_close(self) -> None:
        self.dismiss(None)


def _is_path(text: str) -> bool:
    """Whether a text is meant as a path, not as part of a name."""
    text = text.strip()
    return text.startswith(("~", ".", "'", '"', "file:")) or "/" in text or "\\" in text


def _entries(folder: Path) -> list[Path]:
    """Folders, then sheets, by name; hidden ones are left out."""
    try:
        found = [
            path for path in folder.iterdir() if not path.name.startswith(".") and not path.name.endswith(_JOURNAL)
        ]
    except OSError:
        return []
    by_name = sorted(found, key=lambda path: path.name.casefold())
    return [path for path in by_name if path.is_dir()] + [path for path in by_name if is_sheet(path)]


def _entry(path: Path) -> Content:
    if path.is_dir():
        return Content.styled(f"{visible(path.name)}/", "$primary")
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return Content.assemble(visible(path.name), (f"   {_human(size)}", "$foreground 60%"))


def _human(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size, 1) / 1e3:.0f} kB"
