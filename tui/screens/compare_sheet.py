"""One sheet, two models: how far they are, how good, and the rows on which they part."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from configs.accuracy import Accuracy
from configs.atomic import staged_file
from tui.chats.export import file_name, unused
from tui.compare.messages import (
    Checked,
    RowsAnswered,
    SheetEnded,
    SheetPaused,
    SideAnswered,
    SideLoaded,
    SideLoading,
)
from tui.compare.settings import LETTERS
from tui.compare.worker import SIDES, CompareWorker
from tui.keys import how_to_quit
from tui.text import visible
from tui.widgets.choice_bar import ChoiceBar
from tui.widgets.row_table import Column, RowTable
from tui.widgets.side_card import SideCard
from tui.widgets.status_line import StatusLine
from tui.widgets.title_bar import TitleBar
from tui.words.comparing import compare_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.compare import PairedRow, Verdict
    from runtime.report import AnsweredRow
    from tui.compare.ledger import Ledger
    from tui.compare.settings import CompareSettings

_HINT_S = 5.0
_COUNT_EVERY_S = 1.0
_ANSWER_CELLS = 9
_ID_CELLS = 10


class CompareSheet(Screen[None]):
    """Lets both models answer the sheet, and shows every row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Pause", id="sheet.pause"),
        Binding("r", "resume", "Go on", id="sheet.resume"),
        Binding("left", "filter(-1)", "Filter before", id="sheet.filter_before"),
        Binding("right,tab", "filter(1)", "Filter after", id="sheet.filter_after", priority=False),
        Binding("f4", "export", "Export", id="sheet.export", priority=True),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012  declared by Textual
    VERTICAL_BREAKPOINTS = [(0, "-short"), (16, "-tall")]  # noqa: RUF012
    AUTO_FOCUS = "RowTable"

    def __init__(self, worker: CompareWorker, settings: CompareSettings) -> None:
        super().__init__()
        self._worker = worker
        self._settings = settings
        self._ledger: Ledger | None = None
        self._names: Sequence[Sequence[str]] = ((), ())
        self._has_ids = True
        """Whether the sheet names its rows otherwise than by their numbers."""
        self._filter = 0
        self._shown: list[int] = []
        self._opened = 0
        self._running = True
        self._counted_at = 0.0
        self._hint_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar(self._settings.sheet.name if self._settings.sheet else "")
        with Horizontal(id="sides"):
            for letter, label in zip(LETTERS, self._settings.labels, strict=True):
                yield SideCard(letter, label)
        yield Static(id="verdict")
        yield ChoiceBar(id="filters")
        yield RowTable(self._columns(), self._cells)
        yield StatusLine(compare_words().sheet_keys_hint, "sheet")

    def _columns(self) -> list[Column]:
        number, identity, question, label = compare_words().columns
        found = [Column(number, 6, to_the_right=True), Column(identity, _ID_CELLS), Column(question), Column(label, 5)]
        if not self._has_ids:
            del found[1]
        return [*found, *(Column(letter, _ANSWER_CELLS) for letter in LETTERS)]

    def on_mount(self) -> None:
        self._status.state = compare_words().checking
        self._worker.start(self.post_message)

    @property
    def _status(self) -> StatusLine:
        return self.query_one(StatusLine)

    @property
    def _table(self) -> RowTable:
        return self.query_one(RowTable)

    def _card(self, side: int) -> SideCard:
        return list(self.query(SideCard))[side]

    # What the worker says

    def on_checked(self, event: Checked) -> None:
        from tui.compare.ledger import Ledger

        prepared = event.prepared
        assert prepared.sides is not None
        self._ledger = Ledger(prepared.rows)
        self._has_ids = any(row.id != str(row.number) for row in prepared.rows)
        self._table.set_columns(self._columns())
        self._names = [side.labels.labels for side in prepared.sides]
        for side in SIDES:
            self._card(side).total = prepared.sides[side].total
            self._card(side).state = compare_words().waiting
        self._show_rows()
        self._count()
        for note in prepared.notes:
            self.notify(visible(note), markup=False, timeout=2 * _HINT_S)
        self._worker.answer_sheet()

    def on_side_loading(self, event: SideLoading) -> None:
        self._status.state = compare_words().loading.format(side=LETTERS[event.side])
        self._status.load_fraction = event.fraction

    def on_side_loaded(self, event: SideLoaded) -> None:
        self._status.load_fraction = None
        self._status.state = compare_words().answering.format(side=LETTERS[event.side])
        self._card(event.side).state = ""
        for note in event.notes:
            self.notify(visible(note), markup=False, timeout=2 * _HINT_S)

    def on_rows_answered(self, event: RowsAnswered) -> None:
        card = self._card(event.side)
        card.done, card.total, card.speed = event.done, event.total, event.questions_per_second
        self._put(event.side, event.rows)
        if time.monotonic() - self._counted_at >= _COUNT_EVERY_S:
            self._count()

    def on_side_answered(self, event: SideAnswered) -> None:
        self._card(event.side).state = compare_words().done
        self._put(event.side, dict(enumerate(event.rows)))
        self._count()

    def on_sheet_paused(self, event: SheetPaused) -> None:
        self._running = False
        self._status.load_fraction = None
        reason = compare_words().paused_why.format(reason=event.reason) if event.reason else ""
        self._status.state = visible(reason) or compare_words().paused
        self._count()

    def on_sheet_ended(self, event: SheetEnded) -> None:
        self._running = False
        self._status.load_fraction = None
        self._status.state = compare_words().done

    # What the person does

    def action_stop(self) -> None:
        """Pause after the question that is being answered."""
        if self._running:
            self._worker.stop()

    def answer_interrupt(self) -> None:
        """Ctrl+C names the key that quits."""
        self._hint(how_to_quit())

    def action_resume(self) -> None:
        """Go on where the run was paused."""
        if not self._running and self._status.state != compare_words().done:
            self._running = True
            self._worker.answer_sheet()

    def action_filter(self, step: int) -> None:
        self._choose_filter((self._filter + step) % len(compare_words().filters))

    @on(ChoiceBar.Chosen)
    def filter_clicked(self, event: ChoiceBar.Chosen) -> None:
        self._choose_filter(event.index)

    @on(RowTable.Opened)
    def open_row(self) -> None:
        """Show everything of the chosen row."""
        from tui.screens.compare_row import CompareRowScreen

        self.app.push_screen(CompareRowScreen(self._step, self._settings.labels, self._names))

    def action_export(self) -> None:
        """Write every row into the current folder."""
        if self._ledger is None:
            return
        sheet = self._settings.sheet.stem if self._settings.sheet else ""
        path = unused(Path() / f"{file_name(' vs '.join([*self._settings.labels, sheet]), 0)}.csv")
        try:
            with staged_file(path) as staged:
                staged.write_bytes(self._ledger.as_csv(self._settings.labels, self._names))
        except OSError as error:
            self._hint(compare_words().export_failed.format(file=path, reason=error.strerror))
        else:
            self._hint(compare_words().exported.format(file=path.absolute()))

    # The picture

    def _put(self, side: int, rows: dict[int, AnsweredRow]) -> None:
        if self._ledger is not None:
            self._ledger.put(side, rows)
            self._table.refresh()

    def _count(self) -> None:
        """Everything that is counted over all rows: now and then, a large sheet takes a while."""
        if self._ledger is None:
            return
        found = self._ledger.verdict()
        for side in SIDES:
            self._card(side).accuracy = self._accuracy(side)
        self.query_one("#verdict", Static).update(_verdict(found))
        counts = self._ledger.counts()
        filters = [f"{name} {count:,}" for name, count in zip(compare_words().filters, counts, strict=True)]
        self.query_one(ChoiceBar).show(filters, self._filter)
        if self._filter:
            self._show_rows()
        self._counted_at = time.monotonic()

    def _accuracy(self, side: int) -> Accuracy:
        """Of all labelled rows this model has answered, whether the other has or not."""
        pairs = self._ledger.pairs if self._ledger else ()
        graded = [(pair.places[side], pair.gold) for pair in pairs if pair.gold and pair.places[side]]
        return Accuracy(sum(place == gold for place, gold in graded), len(graded))

    def _choose_filter(self, index: int) -> None:
        self._filter = index
        self._table.chosen = 0
        self._show_rows()
        self._count()

    def _show_rows(self) -> None:
        from tui.compare.ledger import Filter

        if self._ledger is not None:
            self._shown = self._ledger.chosen(Filter(self._filter))
            self._table.count = len(self._shown)
            self._table.refresh()

    def _step(self, rows: int) -> PairedRow:
        assert self._ledger is not None
        self._table.action_move(rows)
        if self._shown:  # else the filter has lost its last row while that was open
            self._opened = self._shown[self._table.chosen]
        return self._ledger.pairs[self._opened]

    def _cells(self, row: int) -> list[Content]:
        assert self._ledger is not None
        pair = self._ledger.pairs[self._shown[row]]
        question = pair.row.question
        gold = self._names[0][pair.gold - 1] if pair.gold and pair.gold <= len(self._names[0]) else ""
        answers = [
            _answer(side, labels, pair) for side, labels in zip((pair.first, pair.second), self._names, strict=True)
        ]
        style = "bold" if pair.differs else ""
        asked = " ".join(visible(question.question if question else pair.row.error).split())
        found = [
            Content.styled(str(pair.row.number), "$foreground 60%"),
            Content(visible(pair.row.id)),
            Content.styled(asked, style),
            Content.styled(gold, "$success"),
            *answers,
        ]
        if not self._has_ids:
            del found[1]
        return found

    def _hint(self, sentence: str) -> None:
        self._status.hint = sentence
        if self._hint_timer is not None:
            self._hint_timer.stop()
        self._hint_timer = self.set_timer(_HINT_S, self._end_hint)

    def _end_hint(self) -> None:
        self._status.hint = ""


def _answer(side: AnsweredRow, labels: Sequence[str], pair: PairedRow) -> Content:
    """A label, its probability, and whether it is right."""
    if side.answer is None:
        return Content.styled("!" if side.error else "·", "$error" if side.error else "$foreground 40%")
    place = side.answer.place
    share = side.answer.probabilities[place - 1]
    style = "" if pair.gold is None else "$success" if place == pair.gold else "$error"
    return Content.assemble((f"{labels[place - 1]:<2}", f"bold {style}".strip()), (f" {share:4.0%}", "$foreground 60%"))


def _verdict(found: Verdict) -> Content:
    said = compare_words()
    if found.agreement is None:
        return Content.styled(said.no_agreement, "$foreground 60%")
    same = found.both - found.differing
    lines = [Content(said.agreement.format(share=found.agreement, same=same, both=found.both, distance=found.distance))]
    if found.paired.rows:
        low, high = found.paired.interval
        lines.append(
            Content(
                said.mcnemar.format(
                    difference=100 * found.paired.difference, low=100 * low, high=100 * high, p=found.paired.p_exact
                )
            )
        )
    return Content("\n").join(lines)
