"""What the thread that asks two models tells the screen. A `side` is 0 for A and 1 for B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from tui.messages import ReplyFigures

if TYPE_CHECKING:
    from runtime.report import AnsweredRow
    from tui.compare.differences import Differences
    from tui.compare.preparing import Prepared


@dataclass
class Checked(Message):
    """Everything was checked; the models are loaded when they are needed."""

    prepared: Prepared


@dataclass
class CompareFailed(Message):
    """Nothing can be compared."""

    error: Exception


@dataclass
class SideLoading(Message):
    """A model is being read."""

    side: int
    fraction: float
    """0..1."""


@dataclass
class SideLoaded(Message):
    """A model can be asked."""

    side: int
    notes: tuple[str, ...]


@dataclass
class LoadedAhead(Message):
    """What is asked first is loaded, or the person gave that up: it will be loaded when it is asked."""


@dataclass
class SideReading(Message):
    """A model begins to read the prompt."""

    number: int
    side: int


@dataclass
class SideText(Message):
    """More of a reply, in whole characters."""

    number: int
    side: int
    text: str


@dataclass
class SideEnded(Message):
    """A reply is complete, or was stopped; without figures where it never began."""

    number: int
    side: int
    figures: ReplyFigures


@dataclass
class SideFailed(Message):
    """A model could not reply."""

    number: int
    side: int
    sentence: str


@dataclass
class RoundEnded(Message):
    """Both have replied, or could not."""

    number: int
    differences: Differences | None
    """None where one of them said nothing."""


@dataclass
class RowsAnswered(Message):
    """A model has answered more of the sheet."""

    side: int
    rows: dict[int, AnsweredRow]
    """By place in the sheet, counted from 0."""
    done: int
    """Different questions answered so far."""
    total: int
    questions_per_second: float


@dataclass
class SideAnswered(Message):
    """A model is through the sheet."""

    side: int
    rows: list[AnsweredRow]
    """All of them, those without an answer with the reason."""


@dataclass
class SheetPaused(Message):
    """The run stands still; what was answered stays."""

    reason: str = ""
    """Empty where the person stopped it."""


@dataclass
class SheetEnded(Message):
    """Both models are through the sheet."""
