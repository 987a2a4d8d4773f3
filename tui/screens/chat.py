"""The chat: the keys and commands, over the conversation that `TalkScreen` holds and `BranchScreen` branches."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import TextArea

from configs.errors import ConfigError
from runtime.arguments import adapter
from tui import sampling
from tui.chats.export import export
from tui.chats.keeper import ChatKeeper
from tui.chats.models import PREFERENCE, remembered
from tui.commands import Command, read_command, unescape
from tui.continuing import messages_of
from tui.keys import how_to_quit
from tui.messages import AdaptersChanged, Forecast
from tui.screens.branches import BranchScreen
from tui.screens.chat_list import ChatListScreen
from tui.screens.help import HelpScreen, chat_rows
from tui.screens.model_list import ModelListScreen
from tui.screens.raw import RawScreen
from tui.screens.talk import ModelState
from tui.widgets.command_hints import CommandHints
from tui.widgets.prompt_input import PromptInput
from tui.words import words
from tui.worker import ChatWorker

_FORECAST_AFTER_S = 0.4


class ChatScreen(BranchScreen):
    """One conversation with one model, and all that can be done to it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop"),
        Binding("ctrl+l", "new_conversation", "New chat", id="chat.new", priority=True),
        Binding("ctrl+o", "chats", "Chats", id="chat.list", priority=True),
        Binding("f3", "models", "Models", id="chat.models", priority=True),
        Binding("ctrl+t", "fold_thoughts", "Thoughts", id="chat.thoughts", priority=True),
        Binding("pageup", "scroll_page(-1)", "Scroll up", id="chat.up", priority=True),
        Binding("pagedown", "scroll_page(1)", "Scroll down", id="chat.down", priority=True),
        Binding("ctrl+home", "scroll_to_beginning", "Beginning", id="chat.top", priority=True),
        Binding("ctrl+end", "scroll_to_end", "End", id="chat.bottom", priority=True),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012  declared by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (12, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = "#prompt"

    _forecast_timer: Timer | None = None

    def __init__(self, worker: ChatWorker, keeper: ChatKeeper, say: str | None = None) -> None:
        super().__init__(worker, keeper)
        self._say_first = say

    def on_mount(self) -> None:
        self._prompt.remember(self.keeper.prompts())
        if self.keeper.tree.leaf is not None:
            self._conversation.show(self.keeper.tree.path())
        if self._say_first is not None:
            self.call_later(self._ask, self._say_first)  # when the worker has begun to load

    # Writing and sending

    @on(PromptInput.Sent)
    def send(self, event: PromptInput.Sent) -> None:
        """Send a message, or do what a command says."""
        command = read_command(event.text)
        if command is not None:
            self._do(command)
        elif self._replying or self._switching:
            self._prompt.give_back(event.text)
            self._hint(words().still_writing if self._replying else words().needs_model)
        elif self._editing is not None:
            question, self._editing = self._editing, None
            self._end_hint()
            self._ask_instead(question, unescape(event.text))
            self._offer_versions()
        else:
            self._ask(unescape(event.text))

    @on(PromptInput.Held)
    def explain_held_paste(self) -> None:
        self._hint(words().paste_held)

    @on(TextArea.Changed, "#prompt")
    def follow_prompt(self) -> None:
        """Show commands that fit, and, when the person pauses, what the message would do to the context."""
        self.query_one(CommandHints).follow(self._prompt.text)
        if self._forecast_timer is not None:
            self._forecast_timer.stop()
        self._forecast_timer = self.set_timer(_FORECAST_AFTER_S, self._ask_forecast)

    def _ask_forecast(self) -> None:
        text = self._prompt.text.strip()
        if self._replying or self._model is not ModelState.READY:
            return
        if text and read_command(text) is None:
            self._worker.measure(self._request(self._editing, text=text))
        else:
            self._status.context_used, self._status.drops = self._kept_tokens, 0

    def on_forecast(self, event: Forecast) -> None:
        if event.number != self._turn or self._replying:
            return
        self._status.context_used, self._status.drops = event.tokens, event.drops
        if event.refusal:
            self._hint(event.refusal)

    # Commands

    def _do(self, command: Command) -> None:
        actions: dict[str, Callable[[str], None]] = {
            "help": lambda _: self._show_help(),
            "new": lambda _: self.action_new_conversation(),
            "clear": lambda _: self.action_new_conversation(),
            "chats": lambda _: self.action_chats(),
            "rename": self._rename,
            "export": self._export,
            "regen": lambda _: self.action_regenerate(),
            "continue": lambda _: self.action_continue(),
            "edit": self._edit,
            "copy": self._copy,
            "system": self._system,
            "set": self._set,
            "model": self._model_named,
            "adapter": self._adapter,
            "read": self._read,
            "raw": lambda _: self.action_raw(),
            "think": lambda _: self.action_fold_thoughts(),
            "quit": lambda _: self.app.exit(),
        }
        if command.name in actions:
            actions[command.name](command.argument)
        else:
            self._prompt.give_back(f"/{command.name}")
            self._hint(words().no_command.format(command=command.name))

    def _rename(self, title: str) -> None:
        if self.keeper.chat is None or not title:
            self._hint(words().no_chat)
        else:
            self.keeper.rename(title)
            self._hint(words().renamed.format(title=title))

    def _export(self, path: str) -> None:
        chat = self.keeper.stored_chat()
        if chat is None:
            self._hint(words().no_chat)
            return
        try:
            written = export(chat, self.keeper.tree, Path(path).expanduser() if path else Path())
        except OSError as error:
            self._conversation.add_note(words().read_failed.format(file=path, reason=error.strerror))
        else:
            self._conversation.add_note(words().exported.format(file=written.absolute()))

    def _system(self, text: str) -> None:
        if text:
            self.keeper.set(None if text == "-" else text, self.keeper.sampling)
        system = self.keeper.system
        self._conversation.add_note(words().system_default if system is None else words().system_is.format(text=system))

    def _set(self, argument: str) -> None:
        name, _, value = argument.replace("=", " ", 1).partition(" ")
        try:
            if name:
                self.keeper.set(self.keeper.system, sampling.changed(self.keeper.sampling, name, value.strip()))
        except ConfigError as error:
            self._prompt.give_back(f"/set {argument}")
            self._hint(str(error))
            return
        self._conversation.add_note(words().sampling_is.format(values=sampling.described(self.keeper.sampling)))
        if not name:
            self._conversation.add_note(words().sampling_names.format(names=", ".join(sampling.NAMES)))

    def _model_named(self, path: str) -> None:
        """Let another model answer; without a path, choose one."""
        if path:
            self._switch(Path(path).expanduser())
        else:
            self.action_models()

    def action_models(self) -> None:
        """Choose from the models beside this one and those used before."""
        recent = remembered(self.keeper.preference(PREFERENCE))
        self.app.push_screen(ModelListScreen(self._worker.model, recent), self._switch)

    def _adapter(self, argument: str) -> None:
        """Plug a LoRA file in, beside those that are; the model stays loaded."""
        if self._replying or self._model is not ModelState.READY:
            self._hint(words().still_writing if self._replying else words().needs_model)
        elif not argument:
            self._tell_adapters()
        elif argument == "-":
            self._worker.plug(())
        else:
            try:
                path, weight = adapter(argument)
            except argparse.ArgumentTypeError as error:
                self._hint(str(error))
                return
            path = path.expanduser()
            others = tuple(other for other in self._worker.adapters if other[0] != path)
            self._worker.plug((*others, (path, weight)))

    def on_adapters_changed(self, event: AdaptersChanged) -> None:
        self._prompt_format = event.prompt_format
        for note in event.notes:
            self._conversation.add_note(note)
        self._tell_adapters()

    def _tell_adapters(self) -> None:
        names = ", ".join(f"{path.name}={weight:g}" for path, weight in self._worker.adapters)
        self._conversation.add_note(words().adapters_are.format(names=names) if names else words().no_adapters)

    def _read(self, path: str) -> None:
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = "UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
            self._hint(words().read_failed.format(file=path, reason=reason))
        else:
            self._prompt.paste_text(text)

    # Keys

    def _show_help(self) -> None:
        self.app.push_screen(HelpScreen(chat_rows()))

    def action_stop(self) -> None:
        if self._editing is not None:
            self._editing = None
            self._prompt.clear()
            self._end_hint()
        else:
            super().action_stop()

    def action_new_conversation(self) -> None:
        """Begin an empty chat; the reply that is running is stopped and kept."""
        self.keep()
        self._editing = None
        self.keeper.new()
        self._begin()

    def action_chats(self) -> None:
        """Choose a chat from all there are."""
        self.app.push_screen(ChatListScreen(self.keeper.store), self._open)

    def _open(self, chat: int | None) -> None:
        open_one = self.keeper.chat
        if open_one is not None and self.keeper.stored_chat() is None:
            self.keeper.new()
            self._begin()
        if chat is None or chat == open_one:
            return
        try:
            chosen = self.keeper.store.chat(chat)
        except ConfigError as error:  # another program has deleted it
            self._hint(str(error))
        else:
            self.keep()
            self._editing = None
            self.keeper.open(chosen)
            self._begin()

    def action_fold_thoughts(self) -> None:
        self._conversation.fold_thoughts()

    def action_raw(self) -> None:
        """Show what the model reads: the conversation as its prompt format writes it."""
        if self._prompt_format is None:
            self._hint(words().needs_model)
            return
        messages = messages_of(self._request(None))[:-1]
        if self.keeper.history():
            self.app.push_screen(RawScreen(self._prompt_format.render(messages)))
        else:
            self._hint(words().no_reply)

    def action_scroll_page(self, pages: int) -> None:
        conversation = self._conversation
        if pages < 0 and conversation.scroll_y <= 0:
            conversation.load_older()
        conversation.scroll_relative(y=pages * max(conversation.size.height - 2, 1), animate=False)

    def action_scroll_to_beginning(self) -> None:
        self._conversation.scroll_home(animate=False)

    def action_scroll_to_end(self) -> None:
        self._conversation.leave_oldest()
        self._conversation.anchor()

    def answer_interrupt(self) -> None:
        """Ctrl+C with nothing selected: stop the reply, or name the key that quits."""
        if self._replying:
            super().action_stop()
        else:
            self._hint(how_to_quit())
