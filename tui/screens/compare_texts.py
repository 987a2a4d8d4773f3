"""One question, two models, their replies side by side."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from configs.atomic import write_text
from tui.chats.export import file_name, unused
from tui.compare.messages import (
    Checked,
    RoundEnded,
    SideEnded,
    SideFailed,
    SideLoaded,
    SideLoading,
    SideReading,
    SideText,
)
from tui.compare.settings import LETTERS
from tui.compare.worker import SIDES, CompareWorker, seeded
from tui.keys import how_to_quit
from tui.stopwatch import Stopwatch
from tui.widgets.compare_round import CompareRound
from tui.widgets.message_view import Note
from tui.widgets.prompt_input import PromptInput
from tui.widgets.status_line import StatusLine
from tui.widgets.title_bar import TitleBar
from tui.words import words
from tui.words.comparing import compare_words

if TYPE_CHECKING:
    from tui.compare.settings import CompareSettings

_FRAME_S = 0.1
_HINT_S = 5.0
_SEED_BITS = 31


class CompareTexts(Screen[None]):
    """Asks both models what is written, each question by itself."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="compare.stop"),
        Binding("f2", "marks", "Marks", id="compare.marks", priority=True),
        Binding("f4", "export", "Export", id="compare.export", priority=True),
        Binding("pageup", "scroll_page(-1)", "Scroll up", id="compare.up", priority=True),
        Binding("pagedown", "scroll_page(1)", "Scroll down", id="compare.down", priority=True),
        Binding("ctrl+home", "scroll_to_beginning", "Beginning", id="compare.top", priority=True),
        Binding("ctrl+end", "scroll_to_end", "End", id="compare.bottom", priority=True),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012  declared by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (12, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = "#prompt"

    def __init__(self, worker: CompareWorker, settings: CompareSettings) -> None:
        super().__init__()
        self._worker = worker
        self._settings = settings
        self._number = 0
        self._round: CompareRound | None = None
        self._ready = False
        self._marked = True
        self._watch = Stopwatch()
        self._frame = 0
        self._frames: Timer | None = None
        self._hint_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar("   ".join(f"{letter} {label}" for letter, label in zip(LETTERS, self._settings.labels)))
        # As high as the window at least: an anchored view would push less than that to its lower edge.
        with VerticalScroll(id="conversation", can_focus=False), Vertical(id="messages"):
            yield Static(Content.styled(compare_words().welcome, "$foreground 60%"), id="welcome")
        with Horizontal(id="prompt-box"):
            yield Static(">", id="prompt-mark")
            yield PromptInput(commands=False)
        yield StatusLine(compare_words().keys_hint, "compare", "prompt")

    def on_mount(self) -> None:
        self._frames = self.set_interval(_FRAME_S, self._draw_frame)
        self._rounds.anchor()
        self._enter(compare_words().checking)
        self._worker.start(self.post_message)
        if self._settings.prompt is not None:
            self._ask(self._settings.prompt)

    @property
    def _rounds(self) -> VerticalScroll:
        return self.query_one("#conversation", VerticalScroll)

    @property
    def _messages(self) -> Vertical:
        return self.query_one("#messages", Vertical)

    @property
    def _status(self) -> StatusLine:
        return self.query_one(StatusLine)

    @property
    def _prompt(self) -> PromptInput:
        return self.query_one(PromptInput)

    # What the person does

    @on(PromptInput.Sent)
    def send(self, event: PromptInput.Sent) -> None:
        """Ask both, unless they are still answering."""
        if self._round is not None:
            self._prompt.give_back(event.text)
            self._hint(compare_words().busy)
        else:
            self._ask(event.text)

    @on(PromptInput.Held)
    def explain_held_paste(self) -> None:
        self._hint(words().paste_held)

    def _ask(self, text: str) -> None:
        self._number += 1
        sampling = seeded(self._settings.sampling, lambda: secrets.randbits(_SEED_BITS))
        self.query("#welcome").remove()
        self._round = CompareRound(
            self._number, text, self._settings.labels, seed=sampling.seed, width=self._rounds.size.width
        )
        self._messages.mount(self._round)
        self._rounds.anchor()
        for reply in self._round.replies:
            reply.wait(compare_words().waiting)
        self._worker.ask(self._number, text, self._settings.system, sampling)
        self._enter(self._status.state)

    def action_stop(self) -> None:
        """End the reply, the load, and what would follow."""
        self._worker.stop()

    def answer_interrupt(self) -> None:
        """Ctrl+C with nothing selected: stop, or name the key that quits."""
        if self._round is not None:
            self.action_stop()
        else:
            self._hint(how_to_quit())

    def action_marks(self) -> None:
        """Mark what only one model says, or show Markdown."""
        self._marked = not self._marked
        for one in self.query(CompareRound):
            one.mark(self._marked)
        self._hint(compare_words().marks_on if self._marked else compare_words().marks_off)

    def action_export(self) -> None:
        """Write everything into the current folder."""
        rounds = [one for one in self.query(CompareRound) if one is not self._round]
        if not rounds:
            self._hint(compare_words().nothing_to_export)
            return
        title = " vs ".join(self._settings.labels)
        path = unused(Path() / f"{file_name(title, 0)}.md")
        try:
            write_text(path, "\n".join([f"# {title}\n", *(one.as_markdown() for one in rounds)]))
        except OSError as error:
            self._hint(compare_words().export_failed.format(file=path, reason=error.strerror))
        else:
            self._hint(compare_words().exported.format(file=path.absolute()))

    def action_scroll_page(self, pages: int) -> None:
        self._rounds.scroll_relative(y=pages * max(self._rounds.size.height - 2, 1), animate=False)

    def action_scroll_to_beginning(self) -> None:
        self._rounds.scroll_home(animate=False)

    def action_scroll_to_end(self) -> None:
        self._rounds.anchor()

    # What the worker says

    def on_checked(self, event: Checked) -> None:
        self._tell(event.prepared.notes)

    def on_loaded_ahead(self) -> None:
        self._ready = True
        self._status.load_fraction = None
        if self._round is None:
            self._enter(words().ready)

    def on_side_loading(self, event: SideLoading) -> None:
        if self._status.load_fraction is None:
            self._enter(compare_words().loading.format(side=LETTERS[event.side]))
        self._status.load_fraction = event.fraction

    def on_side_loaded(self, event: SideLoaded) -> None:
        self._status.load_fraction = None
        self._tell(f"{LETTERS[event.side]}: {note}" for note in event.notes)

    def on_side_reading(self, event: SideReading) -> None:
        if self._is_now(event.number) and self._round is not None:
            self._round.replies[event.side].wait(words().reading)
            self._enter(compare_words().reading.format(side=LETTERS[event.side]))

    def on_side_text(self, event: SideText) -> None:
        if not self._is_now(event.number) or self._round is None:
            return
        reply = self._round.replies[event.side]
        if not reply.text:
            self._enter(compare_words().writing.format(side=LETTERS[event.side]))
        reply.append(event.text)

    def on_side_ended(self, event: SideEnded) -> None:
        if self._is_now(event.number) and self._round is not None:
            self._round.replies[event.side].end(event.figures)

    def on_side_failed(self, event: SideFailed) -> None:
        if self._is_now(event.number) and self._round is not None:
            self._round.replies[event.side].fail(event.sentence)

    def on_round_ended(self, event: RoundEnded) -> None:
        if not self._is_now(event.number) or self._round is None:
            return
        self._round.conclude(event.differences, marked=self._marked)
        self._round = None
        self._status.load_fraction = None
        self._enter(words().ready)

    def _is_now(self, number: int) -> bool:
        return number == self._number

    # The picture

    def _tell(self, notes: Iterable[str]) -> None:
        """Say something between the questions, each sentence once."""
        told = {str(note.content) for note in self.query(Note)}
        for note in dict.fromkeys(notes):
            if note not in told:
                self._messages.mount(Note(note), before=self._round)

    def _enter(self, state: str) -> None:
        self._watch.restart()
        self._status.state = state
        self._status.elapsed_s = 0
        if self._frames is not None:
            moving = self._round is not None or not self._ready
            (self._frames.resume if moving else self._frames.pause)()

    def _draw_frame(self) -> None:
        self._status.elapsed_s = self._watch.elapsed_s
        if self._round is not None:
            self._frame += 1
            for side in SIDES:
                reply = self._round.replies[side]
                if self._frame % reply.frames_to_wait == 0:
                    reply.flush()

    def _hint(self, sentence: str) -> None:
        self._status.hint = sentence
        if self._hint_timer is not None:
            self._hint_timer.stop()
        self._hint_timer = self.set_timer(_HINT_S, self._end_hint)

    def _end_hint(self) -> None:
        self._status.hint = ""
