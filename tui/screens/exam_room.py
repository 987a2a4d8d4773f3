"""The exam room's picture: the sheet, how far its run is, and the table of its questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from configs.accuracy import Accuracy
from tui.exam.board import FILTERS, Board, Facts
from tui.exam.pace import Pace
from tui.exam.settings import ExamSettings
from tui.exam.worker import ExamWorker
from tui.keys import keys_of, label
from tui.screens.exam_question import QuestionScreen
from tui.stopwatch import Stopwatch
from tui.text import visible
from tui.widgets.exam_head import ExamHead
from tui.widgets.filter_bar import FilterBar
from tui.widgets.question_table import QuestionTable
from tui.widgets.row_table import RowTable
from tui.widgets.status_line import StatusLine
from tui.widgets.title_bar import TitleBar
from tui.words import words

_DRAW_S = 0.2
"""Five times a second: more cannot be read, and the model needs the processor."""
_HINT_S = 5.0


class State(Enum):
    """What goes on."""

    EMPTY = auto()
    OPENING = auto()
    READY = auto()
    LOADING = auto()
    MEASURING = auto()
    """The model is loaded, and every question's length is taken: the context has to hold the longest."""
    ANSWERING = auto()
    PAUSING = auto()
    PAUSED = auto()
    STOPPING = auto()
    DONE = auto()


RUNNING = (State.LOADING, State.MEASURING, State.ANSWERING, State.PAUSING, State.PAUSED, State.STOPPING)


class RoomScreen(Screen[None]):
    """Draws the board, and lets the person look at it in several ways."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012  declared by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (18, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = "#questions"

    state = State.EMPTY

    def __init__(self, worker: ExamWorker, settings: ExamSettings) -> None:
        super().__init__()
        self.board = Board((), ())
        self._details: Sequence[Content] = ()
        self._shown_details: Sequence[Content] = ()
        self._worker = worker
        self._settings = settings
        self._kind = Facts.ALL
        self._find = ""
        self._doubtful_first = False
        self._final: Accuracy | None = None
        self._pace = Pace()
        self._watch = Stopwatch()
        self._timer: Timer | None = None
        self._hint_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar(f"{words().exam.title}   {visible(self._settings.model_label)}")
        yield Static(id="exam-sheet")
        yield ExamHead()
        yield Static(id="exam-details")
        yield FilterBar()
        yield QuestionTable()
        yield StatusLine(words().exam.keys_hint, "exam")

    def on_mount(self) -> None:
        self._timer = self.set_interval(_DRAW_S, self.draw_news, pause=True)

    @property
    def _status(self) -> StatusLine:
        return self.query_one(StatusLine)

    @property
    def _table(self) -> QuestionTable:
        return self.query_one(QuestionTable)

    # What goes on

    def enter(self, state: State) -> None:
        """Show a new state; the picture is drawn again and again only while something moves."""
        said = words().exam
        names = {
            State.EMPTY: "",
            State.OPENING: said.opening,
            State.READY: said.ready.format(key=key_of("run")),
            State.LOADING: said.loading,
            State.MEASURING: said.measuring,
            State.ANSWERING: said.answering,
            State.PAUSING: said.pausing,
            State.PAUSED: said.paused.format(key=key_of("run")),
            State.STOPPING: said.stopping,
            State.DONE: said.finished,
        }
        self.state = state
        self._watch.restart()
        self._status.state = names[state]
        self._status.elapsed_s = 0
        self._status.load_fraction = 0.0 if state is State.LOADING else None
        self.end_hint()
        self.draw_news()
        if self._timer is not None:
            moving = state in RUNNING or state is State.OPENING
            (self._timer.resume if moving else self._timer.pause)()

    def draw_news(self) -> None:
        """Take in what has become of rows since the last time, and show it."""
        news = []
        while self._worker.news:
            news.append(self._worker.news.popleft())
        if self.state in (State.OPENING, State.LOADING, State.MEASURING):
            self._status.elapsed_s = self._watch.elapsed_s
        if self.state is State.MEASURING:
            self._status.load_fraction = self._worker.measured
            if news:
                self.enter(State.ANSWERING)
        if news:
            changed = self.board.put(news)
            if self._kind or self._find or self._doubtful_first:
                self.list_rows(top=self._doubtful_first and self._table.chosen == 0)
            self._table.renew(changed)
            if isinstance(self.app.screen, QuestionScreen):
                self.app.screen.renew(changed)
        self._draw_head()

    def _draw_head(self) -> None:
        board = self.board
        running = self.state in (State.ANSWERING, State.PAUSING, State.PAUSED)
        if running:
            self._pace.note(self._worker.done)
        self.query_one(ExamHead).show(
            done=board.count(Facts.DONE) + board.count(Facts.BAD),
            rows=board.count(Facts.ALL),
            accuracy=(self._final or board.accuracy) if board.has_key else None,
            speed=self._pace.speed if running or self.state is State.DONE else 0.0,
            left_s=self._pace.left_s(self._worker.total) if running else None,
        )
        self._draw_filters()

    def _draw_filters(self) -> None:
        said = words().exam
        extra = [said.found.format(text=visible(self._find))] if self._find else []
        extra += [said.doubtful_first] if self._doubtful_first else []
        self.query_one(FilterBar).show(self.board, self._kind, "   ".join(extra))

    # Looking

    def take(self, board: Board) -> None:
        """Show another board, from its beginning."""
        self.board = board
        self._final = None
        self._kind, self._find, self._doubtful_first = Facts.ALL, "", False
        self._table.take(board)
        self.list_rows()
        self._draw_head()

    def list_rows(self, *, top: bool = False) -> None:
        """Show the rows that the filter lets through."""
        places = self.board.places(self._kind, find=self._find, doubtful_first=self._doubtful_first)
        self._table.show(places, top=top)

    @on(FilterBar.Chosen)
    def filter_clicked(self, event: FilterBar.Chosen) -> None:
        self._filter(event.kind)

    def _filter(self, kind: Facts) -> None:
        self._kind = kind
        self.list_rows()
        self._draw_filters()

    def action_filter(self, number: int) -> None:
        """Show the rows of the filter with that key."""
        self._filter(FILTERS[number - 1])

    def action_next_filter(self, step: int) -> None:
        """Show the rows of a neighbouring filter."""
        self._filter(FILTERS[(FILTERS.index(self._kind) + step) % len(FILTERS)])

    def action_order(self) -> None:
        """The answers the model is least sure of first, or the sheet's order."""
        self._doubtful_first = not self._doubtful_first
        self.list_rows(top=self._doubtful_first)
        self._draw_filters()

    def look_for(self, text: str) -> None:
        """Show the rows that hold a text; empty shows all."""
        self._find = text
        self.list_rows()
        self._draw_filters()

    @on(RowTable.Opened)
    def open_question(self, event: RowTable.Opened) -> None:
        """Show one question; the cursor goes where the person leaves."""
        table, places = self._table, list(self._table.places)

        def move(at: int | None) -> None:
            if at is not None and places[at] in table.places:
                table.chosen = table.places.index(places[at])

        self.app.push_screen(QuestionScreen(self.board, places, event.row), move)

    # Saying

    def tell(self, details: Sequence[Content], brief: Sequence[Content] | None = None) -> None:
        """Replace what there is to say of the sheet and its run.

        Args:
            brief: the part that is shown unasked; None for all of it.
        """
        self._details = details
        self._show_details(details if brief is None else brief)

    def action_details(self) -> None:
        """Show all of it, or nothing."""
        card = self.query_one("#exam-details", Static)
        all_shown = card.display and self._shown_details == self._details
        self._show_details([] if all_shown else self._details)

    def _show_details(self, lines: Sequence[Content]) -> None:
        card = self.query_one("#exam-details", Static)
        self._shown_details = lines
        card.update(Content("\n").join(lines))
        card.display = bool(lines)

    def hint(self, sentence: str) -> None:
        """Say something for a few seconds."""
        self._status.hint = visible(sentence)
        if self._hint_timer is not None:
            self._hint_timer.stop()
        self._hint_timer = self.set_timer(_HINT_S, self.end_hint)

    def end_hint(self) -> None:
        """Show the state again."""
        self._status.hint = ""


def key_of(action: str) -> str:
    """The key of one of the room's actions, as people write it."""
    return label(keys_of(f"exam.{action}")[0])


def columns_said(columns: Mapping[str, str]) -> str:
    """`passage 文章, question 問題, option 1 選項1 …`."""
    roles, parts = words().exam.roles, []
    for role, column in columns.items():
        place = role.removeprefix("choice")
        name = roles.get(role) or roles["choice"].format(place=place)
        parts.append(f"{name}: {visible(column)}")
    return "   ".join(parts)
