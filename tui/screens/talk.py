"""Talking: what the person says becomes work for the model, what the worker says becomes the picture and the record."""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from tui.chats.keeper import ChatKeeper
from tui.chats.models import PREFERENCE, with_newest
from tui.chats.tree import STATES, State, StoredMessage
from tui.continuing import Request
from tui.messages import (
    LoadFailed,
    LoadProgress,
    ModelReady,
    ModelSwitched,
    ReplyEnded,
    ReplyFailed,
    ReplyStarted,
    ReplyText,
    SwitchFailed,
)
from tui.settings import model_name
from tui.stopwatch import Stopwatch
from tui.widgets.command_hints import CommandHints
from tui.widgets.conversation import Conversation
from tui.widgets.prompt_input import PromptInput
from tui.widgets.reply_message import ReplyMessage
from tui.widgets.status_line import StatusLine
from tui.widgets.title_bar import TitleBar
from tui.words import words
from tui.worker import ChatWorker

if TYPE_CHECKING:
    from configs.prompt import PromptFormat

_FRAME_S = 0.1
_HINT_S = 5.0


class ModelState(Enum):
    """How far the model is."""

    LOADING = auto()
    READY = auto()
    GIVEN_UP = auto()


class TalkScreen(Screen[None]):
    """One conversation with one model."""

    class LoadError(Message):
        """The model cannot be loaded: there is nothing to stay for."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    def __init__(self, worker: ChatWorker, keeper: ChatKeeper) -> None:
        super().__init__()
        self.keeper = keeper
        self._worker = worker
        self._model = ModelState.LOADING
        self._prompt_format: PromptFormat | None = None
        self._turn = 0
        self._reply: ReplyMessage | None = None
        self._switching = ""
        """The model that is being loaded in place of the one that answered; empty for none."""
        self._dropped_turns = 0
        self._prompt_tokens = 0
        self._kept_tokens = 0
        self._trouble = ""
        self._watch = Stopwatch()
        self._frame = 0
        self._frames: Timer | None = None
        self._hint_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar(self.keeper.model)
        yield Conversation(self.keeper.model, self._version_of)
        yield CommandHints()
        with Horizontal(id="prompt-box"):
            yield Static(">", id="prompt-mark")
            yield PromptInput()
        yield StatusLine()

    def on_mount(self) -> None:
        self._frames = self.set_interval(_FRAME_S, self._draw_frame)
        self._enter(words().loading)
        self._worker.start(self.post_message)

    @property
    def _status(self) -> StatusLine:
        return self.query_one(StatusLine)

    @property
    def _conversation(self) -> Conversation:
        return self.query_one(Conversation)

    @property
    def _prompt(self) -> PromptInput:
        return self.query_one(PromptInput)

    @property
    def _replying(self) -> bool:
        return self._reply is not None

    def _version_of(self, message: StoredMessage) -> tuple[int, int]:
        versions = self.keeper.tree.versions(message.id)
        return versions.index(message.id) + 1, len(versions)

    # What the person says

    def _ask(self, text: str) -> None:
        reply = self.keeper.ask(text)
        question = self.keeper.tree.messages[reply.parent or 0]
        self._send(reply, self._conversation.add(question, reply))

    def _ask_instead(self, question: int, text: str) -> None:
        """Ask something else in its place: a branch."""
        self._show_and_send(self.keeper.ask(text, instead_of=question))

    def _ask_again(self, reply: int) -> None:
        """Another version of a reply."""
        self._show_and_send(self.keeper.answer_again(reply))

    def _go_on(self, reply: int) -> None:
        """More of a reply that has ended."""
        self.keeper.show(reply)
        message = self.keeper.go_on(reply)
        self._conversation.show(self.keeper.tree.path())
        if (view := self._conversation.reply_view(message)) is not None:
            self._send(message, view, begun=message.content)

    def _show_and_send(self, reply: StoredMessage) -> None:
        self._conversation.show(self.keeper.tree.path())
        if (view := self._conversation.reply_view(reply)) is not None:
            self._send(reply, view)

    def _send(self, reply: StoredMessage, view: ReplyMessage, *, begun: str = "") -> None:
        self._turn += 1
        self._reply = view
        if self._model is ModelState.GIVEN_UP:
            self._model = ModelState.LOADING
            self._worker.load()
        self._worker.ask(self._request(reply.parent, begun=begun))
        self._tell_trouble()
        self._enter(words().reading if self._model is ModelState.READY else words().loading)

    def _request(self, question: int | None, *, text: str = "", begun: str = "") -> Request:
        """What the model needs to answer a question of this chat, or `text` in its place or at the end."""
        keeper = self.keeper
        history = keeper.history() if question is None else keeper.history(before=question)
        asked = text or ("" if question is None else keeper.tree.messages[question].content)
        return Request(self._turn, history, asked, keeper.system, keeper.sampling, begun)

    def action_stop(self) -> None:
        """End what is going on: the load, or the reply."""
        if self._model is ModelState.LOADING:
            self._worker.give_up_load()
        elif self._replying:
            self._worker.stop()

    def _switch(self, path: Path | None) -> None:
        """Load another model; the chat goes on with it."""
        if path is None or (self._model is ModelState.READY and path.absolute() == self._worker.model.absolute()):
            return
        if self._replying:
            self._hint(words().still_writing)
        elif self._model is ModelState.LOADING:
            self._hint(words().needs_model)
        else:
            self._model = ModelState.LOADING
            self._switching = model_name(path)
            self._worker.switch(path)
            self._enter(words().switching.format(model=self._switching))

    def _begin(self) -> None:
        """Show the keeper's chat from its end; whatever was being said is for nobody."""
        self._worker.stop()
        self._turn += 1
        self._reply = None
        self._dropped_turns = 0
        self._conversation.show(self.keeper.tree.path())
        self._kept_tokens = self._status.context_used = 0
        self._status.speed = 0.0
        self._status.drops = 0
        if self._model is ModelState.READY:
            self._enter(words().ready)

    def on_unmount(self) -> None:
        self.keep()

    def keep(self) -> None:
        """Put what has been said so far into the file, because the program ends."""
        if self._reply is not None:
            self.keeper.grow(self._reply.text)
            self.keeper.settle("stopped")

    # What the worker says

    def on_load_progress(self, event: LoadProgress) -> None:
        self._status.load_fraction = event.fraction

    def on_model_ready(self, event: ModelReady) -> None:
        self._model = ModelState.READY
        self.keeper.prefer(PREFERENCE, with_newest(self.keeper.preference(PREFERENCE), self._worker.model))
        self._prompt_format = event.prompt_format
        self._status.load_fraction = None
        self._status.context_size = event.context_size
        for note in event.notes:
            self._conversation.add_note(note)
        self._enter(words().reading if self._replying else words().ready)

    def on_model_switched(self, event: ModelSwitched) -> None:
        self._switching = ""
        self.keeper.model = event.label
        self._conversation.name_model(event.label)
        self.query_one(TitleBar).name_model(event.label)
        self._conversation.add_note(words().switched.format(model=event.label))
        if event.lost_adapters:
            self._conversation.add_note(words().switched_adapters)
        self._status.context_used = self._kept_tokens = 0
        self.on_model_ready(ModelReady(event.context_size, event.notes, event.prompt_format))

    def on_switch_failed(self, event: SwitchFailed) -> None:
        self._status.load_fraction = None
        said = words().switch_failed if event.reason else words().switch_given_up
        self._conversation.add_note(said.format(model=self._switching, reason=event.reason))
        self._switching = ""
        if not event.loaded:
            self.on_load_given_up()
            return
        self._model = ModelState.READY
        self._conversation.add_note(words().still_there.format(model=self.keeper.model))
        self._enter(words().reading if self._replying else words().ready)

    def on_load_given_up(self) -> None:
        self._model = ModelState.GIVEN_UP
        self._status.load_fraction = None
        if self._reply is not None:
            reply, self._reply = self._reply.message, None
            if reply.content or self._version_of(reply)[1] > 1:  # more of a reply, or another version of it
                self.keeper.settle("stopped")
            else:
                self._prompt.give_back(self.keeper.tree.messages[reply.parent or 0].content)
                self.keeper.take_back(reply)
            self._conversation.show(self.keeper.tree.path())
        self._conversation.add_note(words().load_given_up)
        self._enter(words().not_loaded)

    def on_load_failed(self, event: LoadFailed) -> None:
        self.app.post_message(self.LoadError(event.error))

    def on_reply_started(self, event: ReplyStarted) -> None:
        if event.turn != self._turn or self._reply is None:
            return
        self._prompt_tokens = self._status.context_used = event.context_used
        self._status.drops = 0
        if event.dropped_turns > self._dropped_turns:
            self._conversation.add_note(words().dropped.format(turns=words().turns(event.dropped_turns)))
        self._dropped_turns = event.dropped_turns

    def on_reply_text(self, event: ReplyText) -> None:
        if event.turn != self._turn or self._reply is None:
            return
        if not self._watch.pieces:
            self._enter(words().writing)
        self._reply.append(event.text)
        self._watch.count(event.pieces)

    def on_reply_ended(self, event: ReplyEnded) -> None:
        if event.turn != self._turn or self._reply is None:
            return
        self._reply.end(event.figures)
        if self._reply.text:  # else the model forgets the question too
            self._kept_tokens = event.context_used
        self._status.context_used = self._kept_tokens
        self._status.speed = event.figures.tokens_per_second
        state = STATES.get(event.figures.finish, "done")
        self._finish(self._reply, state, str(event.figures.tokens) if state == "cut" else "")

    def on_reply_failed(self, event: ReplyFailed) -> None:
        if event.turn != self._turn or self._reply is None:
            return
        self._reply.fail(event.sentence)
        self._finish(self._reply, "failed", event.sentence)

    # The picture

    def _finish(self, reply: ReplyMessage, state: State, foot: str) -> None:
        self._reply = None
        self.keeper.grow(reply.text)
        self.keeper.settle(state, foot)
        self._tell_trouble()
        self._enter(words().ready)

    def _enter(self, state: str) -> None:
        """Show a new state; frames are drawn only while something moves."""
        self._watch.restart()
        self._status.state = state
        self._status.elapsed_s = 0
        self._draw_frame()
        if self._frames is not None:
            moving = self._replying or self._model is ModelState.LOADING
            (self._frames.resume if moving else self._frames.pause)()

    def _draw_frame(self) -> None:
        self._status.elapsed_s = self._watch.elapsed_s
        if self._reply is None:
            return
        if self._watch.pieces:
            self._frame += 1
            if self._frame % self._reply.frames_to_wait == 0:
                self._reply.flush()
            self.keeper.grow(self._reply.text)
            if self._watch.is_time_to_tell():
                self._status.context_used = self._prompt_tokens + self._watch.pieces
                self._status.speed = self._watch.speed
        elif not self._reply.text:
            reading = self._model is ModelState.READY
            self._reply.wait(words().reading if reading else words().waiting_for_model)

    def _tell_trouble(self) -> None:
        """Say once that the chat is not being saved."""
        if self.keeper.trouble and self.keeper.trouble != self._trouble:
            self._conversation.add_note(words().not_saved.format(reason=self.keeper.trouble))
        self._trouble = self.keeper.trouble

    def _hint(self, sentence: str, *, seconds: float = _HINT_S) -> None:
        """Say something for a few seconds; 0 leaves it until it is taken away."""
        self._status.hint = sentence
        if self._hint_timer is not None:
            self._hint_timer.stop()
            self._hint_timer = None
        if seconds:
            self._hint_timer = self.set_timer(seconds, self._end_hint)

    def _end_hint(self) -> None:
        self._status.hint = ""
