"""Two lines about the run: how far it is and how quickly it goes, and how good the answers are."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from configs.accuracy import Accuracy
from tui.words import words

_WIDEST_BAR = 40
_QUIET = "$foreground 60%"
_SLOW = 1.0


class ExamHead(Widget):
    """Draws itself in the width there is."""

    def __init__(self) -> None:
        super().__init__(id="exam-head")
        self._done = self._rows = 0
        self._accuracy: Accuracy | None = None
        self._speed = 0.0
        self._left_s: float | None = None

    def show(
        self, done: int, rows: int, accuracy: Accuracy | None, speed: float = 0.0, left_s: float | None = None
    ) -> None:
        """Say how things stand.

        Args:
            done: rows that are answered, or are known to have no answer.
            accuracy: None where no row has a key.
            speed: questions a second; 0 is not shown.
        """
        before = (self._done, self._rows, self._accuracy, self._speed, self._left_s)
        self._done, self._rows, self._accuracy, self._speed, self._left_s = done, rows, accuracy, speed, left_s
        if before != (done, rows, accuracy, speed, left_s):
            self.refresh()

    def render(self) -> Content:
        if not self._rows:
            return Content("")
        return Content("\n").join([self._progress(), self._quality().truncate(max(self.size.width, 1), ellipsis=True)])

    def _progress(self) -> Content:
        share = self._done / self._rows
        parts = [f"{share:4.0%}", words().exam.counts.format(done=self._done, rows=self._rows)]
        if self._speed >= _SLOW:
            parts.append(words().exam.speed.format(speed=self._speed))
        elif self._speed:
            parts.append(words().exam.slow_speed.format(seconds=1 / self._speed))
        if self._left_s is not None and self._done < self._rows:
            parts.append(words().exam.left.format(time=clock(self._left_s)))
        said = Content("   ".join(parts))
        cells = min(max(self.size.width - said.cell_length - 1, 0), _WIDEST_BAR)
        filled = round(share * cells)
        bar = Content.assemble(("━" * filled, "$primary"), ("━" * (cells - filled), "$foreground 25%"))
        return Content(" ").join([bar, said]).truncate(max(self.size.width, 1), ellipsis=True)

    def _quality(self) -> Content:
        accuracy = self._accuracy
        if accuracy is None:
            return Content.styled(words().exam.no_key, _QUIET)
        if accuracy.share is None:
            return Content("")
        low, high = accuracy.interval
        said = words().exam.accuracy.format(
            share=accuracy.share, correct=accuracy.correct, total=accuracy.total, low=100 * low, high=100 * high
        )
        return Content.styled(said, "$success")


def clock(seconds: float) -> str:
    """`1:05`, `2:00:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
