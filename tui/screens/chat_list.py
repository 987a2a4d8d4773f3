"""All chats: search them, open, rename, export and delete them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.chats.export import export
from tui.chats.search import Found, find_chats
from tui.chats.store import ChatStore
from tui.screens.questions import ConfirmScreen, LineScreen
from tui.text import visible
from tui.words import words


class ChatListScreen(ModalScreen[int | None]):
    """Its result is the chat to open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", id="chats.close", priority=True),
        Binding("up", "move(-1)", "Up", id="chats.up", priority=True),
        Binding("down", "move(1)", "Down", id="chats.down", priority=True),
        Binding("pageup", "move(-10)", "Page up", id="chats.page_up", priority=True),
        Binding("pagedown", "move(10)", "Page down", id="chats.page_down", priority=True),
        Binding("f2", "rename", "Rename", id="chats.rename", priority=True),
        Binding("f4", "export", "Export", id="chats.export", priority=True),
        Binding("delete", "delete", "Delete", id="chats.delete", priority=True),
    ]

    def __init__(self, store: ChatStore) -> None:
        super().__init__()
        self._store = store
        self._found: list[Found] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="chats-card") as card:
            card.border_title = Content(words().chats_title)
            card.border_subtitle = Content(words().chats_keys)
            yield Input(placeholder=words().chats_search)
            yield OptionList()
            yield Static(id="chats-note")

    def on_mount(self) -> None:
        self._list()

    @property
    def _options(self) -> OptionList:
        return self.query_one(OptionList)

    @property
    def _chosen(self) -> Found | None:
        at = self._options.highlighted
        return self._found[at] if at is not None and at < len(self._found) else None

    @on(Input.Changed)
    def search(self) -> None:
        """Every key narrows the list."""
        self._list()

    @on(Input.Submitted)
    def open_chosen(self) -> None:
        if self._chosen is not None:
            self.dismiss(self._chosen.chat)

    @on(OptionList.OptionSelected)
    def open_clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[event.option_index].chat)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        if self._found:
            at = (self._options.highlighted or 0) + step
            self._options.highlighted = min(max(at, 0), len(self._found) - 1)

    def action_rename(self) -> None:
        if (chat := self._chosen) is not None:
            self.app.push_screen(LineScreen(words().rename_title, chat.title), lambda title: self._rename(chat, title))

    def action_export(self) -> None:
        """Write the chosen chat into the current folder."""
        if (chat := self._chosen) is not None:
            try:
                path = export(self._store.chat(chat.chat), self._store.tree(chat.chat), Path())
            except OSError as error:
                self._say(words().read_failed.format(file=Path().absolute(), reason=error.strerror))
            else:
                self._say(words().exported.format(file=path.absolute()))

    def action_delete(self) -> None:
        if (chat := self._chosen) is not None:
            question = words().delete_question.format(title=chat.title)
            self.app.push_screen(ConfirmScreen(question), lambda sure: self._delete(chat, sure=bool(sure)))

    def _rename(self, chat: Found, title: str | None) -> None:
        if title:
            self._store.rename(chat.chat, title)
            self._list()

    def _delete(self, chat: Found, *, sure: bool) -> None:
        if sure:
            self._store.delete(chat.chat)
            self._list()

    def _list(self) -> None:
        wanted = self.query_one(Input).value
        before = self._options.highlighted or 0
        self._found = find_chats(self._store, wanted)
        self._options.clear_options()
        self._options.add_options([Option(_line(found)) for found in self._found])
        self._say("" if self._found else words().chats_none)
        if self._found:
            self._options.highlighted = min(before, len(self._found) - 1)

    def _say(self, text: str) -> None:
        self.query_one("#chats-note", Static).update(Content(visible(text)))


def _line(found: Found) -> Content:
    """One chat: when, its title, how long it is, and where the search met."""
    when = datetime.fromtimestamp(found.updated).astimezone().strftime("%Y-%m-%d %H:%M")
    line = Content.assemble(
        (f"{when}  ", "$foreground 60%"), (visible(found.title), "bold"), (f"  {found.messages}", "$foreground 60%")
    )
    if found.excerpt:
        line = line + Content.styled(f"\n    {visible(found.excerpt)}", "$accent")
    return line
