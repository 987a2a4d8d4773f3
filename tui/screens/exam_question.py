"""One question of the sheet: what was asked, what the model answered, and how sure it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.exam.board import Board, Facts
from tui.text import visible
from tui.words import words

if TYPE_CHECKING:
    from configs.exam import Question
    from runtime.answering import Answer
    from runtime.report import AnsweredRow

_BAR_CELLS = 30
_QUIET = "$foreground 60%"
_CELL_LETTERS = 2000


class QuestionScreen(ModalScreen[int]):
    """Steps through the rows that the table shows; its result is the line where the person left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", id="question.close", priority=True),
        Binding("left,h,k", "step(-1)", "Question before", id="question.before", priority=True),
        Binding("right,l,j", "step(1)", "Next question", id="question.after", priority=True),
        Binding("up", "scroll(-1)", "Up", id="question.up", priority=True),
        Binding("down", "scroll(1)", "Down", id="question.down", priority=True),
        Binding("pageup", "scroll(-10)", "Page up", id="question.page_up", priority=True),
        Binding("pagedown", "scroll(10)", "Page down", id="question.page_down", priority=True),
    ]

    def __init__(self, board: Board, places: Sequence[int], at: int) -> None:
        super().__init__()
        self._board = board
        self._places = places
        self._at = at

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="question-card") as card:
            card.border_subtitle = Content(words().exam.question_keys)
            yield Static(id="question-text")

    def on_mount(self) -> None:
        self._draw()
        self._card.focus()

    @property
    def _card(self) -> VerticalScroll:
        return self.query_one("#question-card", VerticalScroll)

    def renew(self, places: set[int]) -> None:
        """Draw again if something has become of this row."""
        if self._places[self._at] in places:
            self._draw()

    def action_close(self) -> None:
        self.dismiss(self._at)

    def action_step(self, lines: int) -> None:
        at = min(max(self._at + lines, 0), len(self._places) - 1)
        if at != self._at:
            self._at = at
            self._draw()
            self._card.scroll_home(animate=False)

    def action_scroll(self, lines: int) -> None:
        self._card.scroll_relative(y=lines, animate=False)

    def _draw(self) -> None:
        place = self._places[self._at]
        row = self._board.rows[place].row
        self._card.border_title = Content(
            words().exam.position.format(
                number=row.number, id=visible(row.id), at=self._at + 1, count=len(self._places)
            )
        )
        self.query_one("#question-text", Static).update(question_content(self._board, place))


def question_content(board: Board, place: int) -> Content:
    """Everything that is known of a row."""
    row = board.rows[place]
    parts = _cells_of(row) if row.row.question is None else _asked(board, row, row.row.question)
    said = words().exam
    if row.error:
        parts.append(Content.styled(visible(row.error), "bold $error"))
    if row.answer:
        parts.append(_verdict(board.facts(place)))
        parts.append(Content.styled(said.mass.format(mass=row.answer.label_mass, margin=row.answer.margin), _QUIET))
        if row.answer.flip_rate is not None:
            parts.append(Content.styled(said.flips.format(share=row.answer.flip_rate), _QUIET))
    elif not row.error:
        parts.append(Content.styled(said.waiting, _QUIET))
    if row.warnings:
        parts.append(Content.styled(said.remarks.format(remarks=visible("; ".join(row.warnings))), "$warning"))
    return Content("\n").join(parts)


def _asked(board: Board, row: AnsweredRow, question: Question) -> list[Content]:
    parts = [
        Content.styled(words().exam.passage, _QUIET),
        Content(visible(question.passage)),
        Content(""),
        Content.styled(visible(question.question), "bold"),
        Content(""),
    ]
    for option, text in enumerate(question.choices, 1):
        parts += _option(board, question, row.answer, option, text)
    return [*parts, Content("")]


def _option(board: Board, question: Question, answer: Answer | None, option: int, text: str) -> list[Content]:
    """The option's text, and its probability as a bar."""
    said = words().exam
    chosen, right = answer is not None and answer.place == option, question.answer == option
    ink = ("$success" if right or not question.answer else "$error") if chosen else ""
    label = board.label(option) or str(option)
    shown = Content.styled(visible(text), f"bold {ink}".strip()) if text else Content.styled(said.blank, _QUIET)
    line = Content.assemble((f"{label}  ", "bold $primary"), shown)
    if right:
        line = Content.assemble(line, (f"   {said.key}", "bold $accent"))
    if chosen:
        line = Content.assemble(line, (f"   {said.answer}", f"bold {ink}"))
    if answer is None:
        return [line]
    share = answer.probabilities[option - 1]
    filled = round(share * _BAR_CELLS)
    bar = Content.assemble(
        " " * (cell_len(label) + 2),
        ("█" * filled, ink or "$primary 70%"),
        ("─" * (_BAR_CELLS - filled), "$foreground 25%"),
        f" {share:6.1%}",
    )
    return [line, bar]


def _verdict(found: Facts) -> Content:
    said = words().exam
    parts = []
    if Facts.RIGHT in found:
        parts.append(Content.styled(f"✓ {said.right}", "bold $success"))
    if Facts.WRONG in found:
        parts.append(Content.styled(f"✗ {said.wrong}", "bold $error"))
    if Facts.UNSURE in found:
        parts.append(Content.styled(f"? {said.unsure}", "$warning"))
    return Content("   ").join(parts)


def _cells_of(row: AnsweredRow) -> list[Content]:
    """The cells of a row that is no question."""
    cells = [(name, cell) for name, cell in (row.row.raw or {}).items() if cell is not None]
    lines = [Content.styled(words().exam.cells, _QUIET)]
    for name, cell in cells:
        lines.append(Content.assemble((f"{visible(name)}  ", "bold $primary"), visible(str(cell)[:_CELL_LETTERS])))
    return [*lines, Content("")]
