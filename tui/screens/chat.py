"""The chat: what the person does becomes work for the model, what the worker says becomes the picture."""

from __future__ import annotations

from enum import Enum, auto
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from tui import words
from tui.commands import read_command, unescape
from tui.messages import (
    LoadFailed,
    LoadProgress,
    ModelReady,
    ReplyEnded,
    ReplyFailed,
    ReplyStarted,
    ReplyText,
)
from tui.screens.help import HelpScreen
from tui.stopwatch import Stopwatch
from tui.widgets.conversation import Conversation
from tui.widgets.message_view import ReplyMessage
from tui.widgets.prompt_input import PromptInput
from tui.widgets.status_line import StatusLine
from tui.widgets.title_bar import TitleBar
from tui.worker import ChatWorker

_FRAME_S = 0.1
_HINT_S = 3.0


class ModelState(Enum):
    """How far the model is."""

    LOADING = auto()
    READY = auto()
    GIVEN_UP = auto()


class ChatScreen(Screen[None]):
    """One conversation with one model."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop"),
        Binding("ctrl+l", "new_conversation", "New conversation", id="chat.new", priority=True),
        Binding("pageup", "scroll_page(-1)", "Scroll up", id="chat.up", priority=True),
        Binding("pagedown", "scroll_page(1)", "Scroll down", id="chat.down", priority=True),
        Binding("ctrl+home", "scroll_to_beginning", "Beginning", id="chat.top", priority=True),
        Binding("ctrl+end", "scroll_to_end", "End", id="chat.bottom", priority=True),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012  declared by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (12, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = "#prompt"

    class LoadError(Message):
        """The model cannot be loaded: there is nothing to stay for."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    def __init__(self, worker: ChatWorker, model_label: str) -> None:
        super().__init__()
        self._worker = worker
        self._model_label = model_label
        self._model = ModelState.LOADING
        self._turn = 0
        self._asked = ""
        self._reply: ReplyMessage | None = None
        self._dropped_turns = 0
        self._prompt_tokens = 0
        self._kept_tokens = 0
        self._watch = Stopwatch()
        self._frames: Timer | None = None
        self._hint_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar(self._model_label)
        yield Conversation(self._model_label)
        with Horizontal(id="prompt-box"):
            yield Static(">", id="prompt-mark")
            yield PromptInput()
        yield StatusLine()

    def on_mount(self) -> None:
        self._frames = self.set_interval(_FRAME_S, self._draw_frame)
        self._enter(words.LOADING)
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

    # What the person does

    @on(PromptInput.Sent)
    def send(self, event: PromptInput.Sent) -> None:
        """Send a message, or do what a command says."""
        command = read_command(event.text)
        if command is not None:
            self._do(command)
        elif self._reply is not None:
            self._prompt.give_back(event.text)
            self._hint(words.STILL_WRITING)
        else:
            self._ask(unescape(event.text))

    def _do(self, command: str) -> None:
        actions = {"clear": self.action_new_conversation, "help": self._show_help, "quit": self.app.exit}
        if command in actions:
            actions[command]()
        else:
            self._prompt.give_back(f"/{command}")
            self._hint(words.NO_COMMAND.format(command=command))

    def _ask(self, text: str) -> None:
        self._turn += 1
        self._asked = text
        self._reply = self._conversation.add_turn(text)
        if self._model is ModelState.GIVEN_UP:
            self._model = ModelState.LOADING
            self._worker.load()
        self._worker.ask(self._turn, text)
        self._enter(words.READING if self._model is ModelState.READY else words.LOADING)

    def _show_help(self) -> None:
        self.app.push_screen(HelpScreen())

    def action_stop(self) -> None:
        """End what is going on: the load, or the reply."""
        if self._model is ModelState.LOADING:
            self._worker.give_up_load()
        elif self._reply is not None:
            self._worker.stop()

    def action_new_conversation(self) -> None:
        """Forget what was said, the reply that is running too."""
        self._worker.new_conversation()
        self._turn += 1  # what the stopped reply still says is for nobody
        self._reply = None
        self._dropped_turns = 0
        self._conversation.clear()
        self._kept_tokens = self._status.context_used = 0
        self._status.speed = 0.0
        if self._model is ModelState.READY:
            self._enter(words.READY)

    def action_scroll_page(self, pages: int) -> None:
        conversation = self._conversation
        conversation.scroll_relative(y=pages * max(conversation.size.height - 2, 1), animate=False)

    def action_scroll_to_beginning(self) -> None:
        self._conversation.scroll_home(animate=False)

    def action_scroll_to_end(self) -> None:
        self._conversation.anchor()

    def answer_interrupt(self) -> None:
        """Ctrl+C with nothing selected: stop the reply, or name the key that quits."""
        if self._reply is not None:
            self.action_stop()
        else:
            self._hint(words.HOW_TO_QUIT)

    # What the worker says

    def on_load_progress(self, event: LoadProgress) -> None:
        self._status.load_fraction = event.fraction

    def on_model_ready(self, event: ModelReady) -> None:
        self._model = ModelState.READY
        self._status.load_fraction = None
        self._status.context_size = event.context_size
        for note in event.notes:
            self._conversation.add_note(note)
        self._enter(words.READING if self._reply is not None else words.READY)

    def on_load_given_up(self) -> None:
        self._model = ModelState.GIVEN_UP
        self._status.load_fraction = None
        if self._reply is not None:
            self._reply = None
            self._conversation.take_back_turn()
            self._prompt.give_back(self._asked)
        self._conversation.add_note(words.LOAD_GIVEN_UP)
        self._enter(words.NOT_LOADED)

    def on_load_failed(self, event: LoadFailed) -> None:
        self.app.post_message(self.LoadError(event.error))

    def on_reply_started(self, event: ReplyStarted) -> None:
        if event.turn != self._turn or self._reply is None:
            return
        self._prompt_tokens = self._status.context_used = event.context_used
        if event.dropped_turns > self._dropped_turns:
            self._dropped_turns = event.dropped_turns
            self._conversation.add_note(words.DROPPED.format(turns=words.turns(event.dropped_turns)))

    def on_reply_text(self, event: ReplyText) -> None:
        if event.turn != self._turn or self._reply is None:
            return
        if not self._reply.text:
            self._enter(words.WRITING)
        self._reply.append(event.text)
        self._watch.count_piece()

    def on_reply_ended(self, event: ReplyEnded) -> None:
        if event.turn != self._turn or self._reply is None:
            return
        self._reply.end(event.figures)
        if self._reply.text:  # else the model forgets the question too
            self._kept_tokens = event.context_used
        self._status.context_used = self._kept_tokens
        self._status.speed = event.figures.tokens_per_second
        self._finish()

    def on_reply_failed(self, event: ReplyFailed) -> None:
        if event.turn != self._turn or self._reply is None:
            return
        self._reply.fail(event.sentence)
        self._finish()

    # The picture

    def _finish(self) -> None:
        self._reply = None
        self._prompt.focus()
        self._enter(words.READY)

    def _enter(self, state: str) -> None:
        """Show a new state; frames are drawn only while something moves."""
        self._watch.restart()
        self._status.state = state
        self._status.elapsed_s = 0
        self._draw_frame()
        if self._frames is not None:
            moving = self._reply is not None or self._model is ModelState.LOADING
            (self._frames.resume if moving else self._frames.pause)()

    def _draw_frame(self) -> None:
        self._status.elapsed_s = self._watch.elapsed_s
        if self._reply is None:
            return
        if self._reply.text:
            self._reply.flush()
            self._status.context_used = self._prompt_tokens + self._watch.pieces
            self._status.speed = self._watch.speed
        else:
            reading = self._model is ModelState.READY
            self._reply.wait(words.READING if reading else words.WAITING_FOR_MODEL)

    def _hint(self, sentence: str) -> None:
        """Say something for a few seconds."""
        self._status.hint = sentence
        if self._hint_timer is not None:
            self._hint_timer.stop()
        self._hint_timer = self.set_timer(_HINT_S, self._end_hint)

    def _end_hint(self) -> None:
        self._status.hint = ""
