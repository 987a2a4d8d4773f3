"""The exam room: the keys, the sheet that is open, and the run that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from tui.exam.board import Board, Facts
from tui.exam.dropped import path_of
from tui.exam.export import export_path
from tui.exam.messages import (
    Exported,
    ExportFailed,
    RunBegan,
    RunEnded,
    RunFailed,
    SheetOpened,
    SheetRefused,
)
from tui.exam.settings import is_sheet
from tui.keys import how_to_quit
from tui.messages import LoadProgress
from tui.screens.exam_choices import ChooserScreen, ExportScreen
from tui.screens.exam_room import RUNNING, RoomScreen, State, columns_said, key_of
from tui.screens.questions import ConfirmScreen, LineScreen
from tui.text import visible
from tui.words import words

if TYPE_CHECKING:
    from runtime.report import AnsweredRow, Columns
    from runtime.rows import Summary

_QUIET = "$foreground 60%"
_LOW_MASS = 0.5
_HINT_LETTERS = 200


class ExamScreen(RoomScreen):
    """One sheet after another, answered by one model."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "run", "Start, pause", id="exam.run"),
        Binding("escape", "stop", "Stop", id="exam.stop"),
        *(Binding(str(number), f"filter({number})", "Filter", id=f"exam.filter{number}") for number in range(1, 6)),
        Binding("left,shift+tab", "next_filter(-1)", "Filter before", id="exam.filter_before"),
        Binding("right,tab", "next_filter(1)", "Next filter", id="exam.filter_after"),
        Binding("slash", "find", "Find", id="exam.find"),
        Binding("o", "order", "Doubtful first", id="exam.order"),
        Binding("i", "details", "Details", id="exam.details"),
        Binding("c", "columns", "Columns", id="exam.columns"),
        Binding("e", "export", "Export", id="exam.export"),
        Binding("r", "restart", "Start over", id="exam.restart"),
        Binding("ctrl+o", "choose", "Sheet", id="exam.choose", priority=True),
    ]

    _sheet: Path | None = None
    _output = Path()
    _roles = ""
    """Columns that the person named: the CSV is made from them too, so they are not those that were recognised."""
    _recognised = ""
    _restart = False
    _about: Sequence[Content] = ()

    def on_mount(self) -> None:
        # The first frame waits for nothing that the worker imports.
        self.call_after_refresh(lambda: self._worker.start(self.post_message))
        if self._settings.sheet is not None:
            self._open(self._settings.sheet, self._settings.sheet_columns, restart=self._settings.restart)
        else:
            self.enter(State.EMPTY)
            self.tell([Content(_no_sheet())])

    # Sheets

    def _open(self, sheet: Path, roles: str, *, restart: bool = False) -> None:
        """Read a sheet.

        Args:
            roles: the columns that the person named.
            restart: its run is to forget the journal.
        """
        self._sheet, self._roles, self._recognised, self._restart = sheet, roles, "", restart
        output = self._output = self._settings.output_of(sheet)
        line = words().exam.sheet_line.format(sheet=visible(str(sheet)), output=visible(str(output)))
        self.query_one("#exam-sheet", Static).update(Content.styled(line, "$foreground 60%"))
        self.take(Board((), ()))
        self.tell([])
        self.enter(State.OPENING)
        self._worker.open(sheet, lambda: self._settings.run_of(sheet, roles, restart=restart))

    def on_sheet_opened(self, event: SheetOpened) -> None:
        if event.sheet != self._sheet:
            return
        self.take(Board(event.rows, event.labels))
        said, board = words().exam, self.board
        held, bad = board.count(Facts.DONE), board.count(Facts.BAD)
        counts = [Content(said.rows_line.format(rows=len(board.rows)))]
        if bad:
            counts.append(Content.styled(said.bad_line.format(count=bad, key=key_of("filter5")), "$error"))
        if board.warned:
            counts.append(Content.styled(said.warned_line.format(count=board.warned), "$warning"))
        if held:
            counts.append(Content(said.held_line.format(count=held)))
        self._about = [
            Content(said.columns_line.format(columns=columns_said(event.columns))),
            Content("   ").join(counts),
        ]
        self._recognised = ",".join(f"{role}={column}" for role, column in event.columns.items())
        changed = [Content.styled(said.changed.format(key=key_of("run")), "$warning")] if event.changed else []
        self.enter(State.READY)
        self.tell([*self._about, *_notes(event.notes), *changed, *_trouble(event.trouble)])

    def on_sheet_refused(self, event: SheetRefused) -> None:
        if event.sheet == self._sheet:
            self.enter(State.EMPTY)
            self.tell(_trouble(words().exam.refused.format(reason=event.sentence)))

    def on_paste(self, event: events.Paste) -> None:
        """A sheet that is dropped on the terminal arrives as a pasted path."""
        path = path_of(event.text)
        if self.state in RUNNING:
            self.hint(_busy())
        elif path is not None and is_sheet(path):
            self._open(path, "")
        else:
            self.hint(words().exam.no_such_sheet.format(path=event.text.strip()[:_HINT_LETTERS]))

    def action_choose(self) -> None:
        """Choose another sheet."""
        if self.app.screen is not self:
            return
        if self.state in RUNNING:
            self.hint(_busy())
            return

        def open_one(path: Path | None) -> None:
            if path is not None:
                self._open(path, "")

        self.app.push_screen(ChooserScreen(self._sheet.parent if self._sheet else Path()), open_one)

    def action_columns(self) -> None:
        """Say what a column of the sheet is."""
        sheet = self._sheet
        if sheet is None or self.state in RUNNING:
            self.hint(_busy() if sheet else _no_sheet())
            return

        def reopen(roles: str | None) -> None:
            if roles and roles != shown:
                self._open(sheet, roles, restart=self._restart)

        shown = self._roles or self._recognised
        self.app.push_screen(LineScreen(words().exam.columns_title, shown), reopen)

    # The run

    def action_run(self) -> None:
        """Start, pause, go on: whatever comes next."""
        if self.state in (State.READY, State.DONE):
            self._worker.begin()
            self.enter(State.LOADING)
        elif self.state in (State.MEASURING, State.ANSWERING):
            self._worker.pause()
            self.enter(State.PAUSING)
        elif self.state in (State.PAUSED, State.PAUSING):
            self._worker.resume()
            self.enter(State.ANSWERING)
        elif self._sheet is None:
            self.action_choose()

    def action_stop(self) -> None:
        """End the run or its loading; what is done stays in the journal."""
        if self.state in RUNNING:
            self._worker.stop()
            self.enter(State.STOPPING)
        else:
            self.hint(words().exam.nothing_runs)

    def action_restart(self) -> None:
        """Forget the journal and answer every row again."""
        sheet = self._sheet
        if sheet is None or self.state in RUNNING:
            self.hint(_busy() if sheet else _no_sheet())
            return

        def reopen(sure: bool | None) -> None:
            if sure:
                self._open(sheet, self._roles, restart=True)

        question = words().exam.restart_question.format(output=self._output)
        self.app.push_screen(ConfirmScreen(question, words().exam.restart_keys), reopen)

    def answer_interrupt(self) -> None:
        """Ctrl+C: name the key that quits."""
        self.hint(how_to_quit())

    def on_load_progress(self, event: LoadProgress) -> None:
        if self.state is State.LOADING:
            self._status.load_fraction = event.fraction

    def on_run_began(self, event: RunBegan) -> None:
        self._restart = False
        self._final = None
        if self.state is not State.LOADING:  # it is to stop
            return
        self._pace.begin(event.done)
        self.enter(State.MEASURING)
        self.tell([*self._about, *_notes(event.notes)], brief=())

    def on_run_paused(self) -> None:
        if self.state is State.PAUSING:
            self._pace.pause()
            self.enter(State.PAUSED)

    def on_run_resumed(self) -> None:
        self._pace.resume()

    def on_run_stopped(self) -> None:
        self.enter(State.READY)
        stopped = [Content.styled(words().exam.stopped.format(key=key_of("run")), "$warning")]
        self.tell([*self._about, *stopped], brief=stopped)

    def on_run_failed(self, event: RunFailed) -> None:
        self.enter(State.READY)
        trouble = _trouble(event.sentence)
        self.tell([*self._about, *trouble], brief=trouble)

    def on_run_ended(self, event: RunEnded) -> None:
        self.draw_news()
        self.board.put(enumerate(event.rows))
        self._final = event.summary.accuracy
        self.list_rows()
        self.enter(State.DONE)
        ended = self._ended(event.summary)
        self.tell([*self._about, *_notes(event.notes), *ended], brief=ended)

    def _ended(self, summary: Summary) -> list[Content]:
        said, output = words().exam, visible(str(self._output))
        lines = [Content.styled(said.already_made.format(output=output), "$success")] if summary.already_made else []
        if summary.median_label_mass < _LOW_MASS:
            lines.append(Content.styled(said.low_mass.format(share=summary.median_label_mass), "$warning"))
        counts = said.done_line.format(
            computed=summary.computed, held=summary.from_journal, unanswered=summary.unanswered, output=output
        )
        return [*lines, Content.styled(counts, "$warning" if summary.unanswered else "$success")]

    # Cards

    def action_find(self) -> None:
        """Look for an ID or a text."""
        self.app.push_screen(LineScreen(words().exam.find_title, self._find), lambda text: self.look_for(text or ""))

    def action_export(self) -> None:
        """Write what is answered by now as a CSV."""
        board, shown = self.board, [self.board.rows[place] for place in self._table.places]
        if not board.rows:
            self.hint(_no_sheet())
            return
        said = words().exam
        lines = [said.export_kaggle.format(rows=len(board.rows)), said.export_full.format(rows=len(board.rows))]
        if len(shown) not in (0, len(board.rows)):
            lines.append(said.export_shown.format(rows=len(shown)))

        def name(line: int | None) -> None:
            if line is not None:
                columns: Columns = "full" if line else "kaggle"
                self._export(columns, shown if line == 2 else list(board.rows), part="part" if line == 2 else "")

        self.app.push_screen(ExportScreen(lines), name)

    def _export(self, columns: Columns, rows: list[AnsweredRow], *, part: str) -> None:
        """Ask where to, and whether to replace what is there."""

        def ask(text: str | None) -> None:
            path = path_of(text or "")
            if path is None:
                return
            if path.is_file():
                question = words().exam.replace_question.format(file=path)
                self.app.push_screen(
                    ConfirmScreen(question, words().exam.replace_keys), lambda sure: write(path) if sure else None
                )
            else:
                write(path)

        def write(path: Path) -> None:
            self._worker.export(path, columns, rows)

        default = str(export_path(self._output, columns, part=part))
        self.app.push_screen(LineScreen(words().exam.export_path_title, default), ask)

    def on_exported(self, event: Exported) -> None:
        self.hint(words().exam.exported.format(rows=event.rows, answered=event.answered, file=visible(str(event.path))))

    def on_export_failed(self, event: ExportFailed) -> None:
        self.hint(event.sentence)


def _busy() -> str:
    return words().exam.busy.format(key=key_of("stop"))


def _no_sheet() -> str:
    return words().exam.no_sheet.format(key=key_of("choose"))


def _notes(notes: tuple[str, ...]) -> list[Content]:
    return [Content.styled(visible(note), _QUIET) for note in notes]


def _trouble(sentence: str) -> list[Content]:
    return [Content.styled(visible(sentence), "bold $error")] if sentence else []
