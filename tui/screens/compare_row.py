"""One row of a sheet, opened: passage, options, and what both models think of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.compare.settings import LETTERS
from tui.text import visible
from tui.words.comparing import compare_words

if TYPE_CHECKING:
    from runtime.compare import PairedRow

_BAR_CELLS = 24
_COLOURS = ("$primary", "$secondary")


class CompareRowScreen(ModalScreen[None]):
    """Closed by Esc; the arrows show other rows.

    Args:
        step: returns the row so many below the one that is shown, and remembers it as chosen.
        names: the labels of the options, as each model calls them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", id="row.close", priority=True),
        Binding("left", "step(-1)", "Row before", id="row.before", priority=True),
        Binding("right", "step(1)", "Row after", id="row.after", priority=True),
    ]

    def __init__(
        self, step: Callable[[int], PairedRow], labels: tuple[str, str], names: Sequence[Sequence[str]]
    ) -> None:
        super().__init__()
        self._step, self._labels, self._names = step, labels, names

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="row-card") as card:
            card.border_subtitle = Content(compare_words().row_keys)
            yield Static(id="row-text")

    def on_mount(self) -> None:
        self.query_one("#row-card").focus()
        self.action_step(0)

    def action_step(self, rows: int) -> None:
        pair = self._step(rows)
        title = compare_words().row_title.format(number=pair.row.number, id=pair.row.id)
        card = self.query_one("#row-card")
        card.border_title = Content(visible(title))
        self.query_one("#row-text", Static).update(row_content(pair, self._labels, self._names))
        card.scroll_home(animate=False)

    def action_close(self) -> None:
        self.dismiss()


def row_content(pair: PairedRow, labels: tuple[str, str], names: Sequence[Sequence[str]]) -> Content:
    """Everything there is to say of a row."""
    said = compare_words()
    sides = (pair.first, pair.second)
    question = pair.row.question
    lines = [
        Content.assemble((f"{letter}  ", f"bold {colour}"), (label, "bold"))
        for letter, label, colour in zip(LETTERS, labels, _COLOURS, strict=True)
    ]
    if pair.distance is not None:
        lines.append(Content.styled(said.distance.format(distance=pair.distance), "$foreground 60%"))
    for letter, side in zip(LETTERS, sides, strict=True):
        if side.error:
            text = f"{letter}: {said.unanswered.format(reason=visible(side.error))}"
            lines.append(Content.styled(text, "$warning"))
    if question is None:
        return Content("\n").join(lines)
    lines += [Content(""), Content(visible(question.passage)), Content("")]
    lines.append(Content.styled(visible(question.question), "bold"))
    for place, choice in enumerate(question.choices, 1):
        lines += [Content(""), _option(pair, place, choice, names)]
        for letter, side, colour in zip(LETTERS, sides, _COLOURS, strict=True):
            if side.answer is not None:
                lines.append(_bar(letter, side.answer.probabilities[place - 1], colour, side.answer.place == place))
    return Content("\n").join(lines)


def _option(pair: PairedRow, place: int, choice: str, names: Sequence[Sequence[str]]) -> Content:
    labels = dict.fromkeys(labels[place - 1] for labels in names if place <= len(labels))
    right = f"   ✓ {compare_words().right}" if pair.gold == place else ""
    return Content.assemble((f"{'/'.join(labels)}  ", "bold $accent"), visible(choice), (right, "bold $success"))


def _bar(letter: str, share: float, colour: str, chosen: bool) -> Content:
    filled = round(share * _BAR_CELLS)
    return Content.assemble(
        (f"   {letter} ", f"bold {colour}" if chosen else "$foreground 60%"),
        ("━" * filled, colour),
        ("─" * (_BAR_CELLS - filled), "$foreground 30%"),
        (f" {share:6.1%}", "bold" if chosen else "$foreground 60%"),
    )
