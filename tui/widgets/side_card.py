"""One of two models on its way through a sheet."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from configs.accuracy import Accuracy
from tui.words.comparing import compare_words

_BAR_CELLS = 20
_NOTHING = Accuracy(0, 0)


class SideCard(Widget):
    """Its name, how far it is, how quick, and how often right."""

    state: reactive[str] = reactive("")
    done: reactive[int] = reactive(0)
    total: reactive[int] = reactive(0)
    speed: reactive[float] = reactive(0.0)
    """Questions a second."""
    accuracy: reactive[Accuracy] = reactive(_NOTHING)

    def __init__(self, letter: str, label: str) -> None:
        super().__init__(classes="side-card")
        self._head = Content.assemble((f"{letter}  ", "bold $accent"), (label, "bold $secondary"))

    def render(self) -> Content:
        share = self.done / self.total if self.total else 0.0
        filled = round(share * _BAR_CELLS)
        said = compare_words()
        counted = said.questions.format(done=self.done, total=self.total, speed=self.speed)
        lines = [
            self._head,
            Content.assemble(
                ("━" * filled, "$primary"),
                ("─" * (_BAR_CELLS - filled), "$foreground 30%"),
                f" {share:4.0%}  ",
                (self.state, "$accent"),
                (
                    ""
                    if self.left_s is None
                    else f"  {said.left.format(minutes=self.left_s // 60, seconds=self.left_s % 60)}"
                ),
            ),
            Content.styled(counted, "$foreground 60%"),
        ]
        if self.accuracy.share is not None:
            low, high = self.accuracy.interval
            lines.append(
                Content(
                    said.accuracy.format(
                        share=self.accuracy.share,
                        correct=self.accuracy.correct,
                        total=self.accuracy.total,
                        low=100 * low,
                        high=100 * high,
                    )
                )
            )
        return Content("\n").join(lines)

    @property
    def left_s(self) -> int | None:
        """Seconds to the end at this speed; None where nothing is timed or left."""
        left = self.total - self.done
        return round(left / self.speed) if self.speed and left and self.done else None
