"""What the worker thread tells the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from configs.prompt import PromptFormat


@dataclass
class LoadProgress(Message):
    """The model is being read."""

    fraction: float
    """0..1."""


@dataclass
class ModelReady(Message):
    """The model can be asked."""

    context_size: int
    """Tokens."""
    notes: tuple[str, ...]
    """What a person should know about how it was loaded."""
    prompt_format: PromptFormat
    """How the model reads a conversation."""


@dataclass
class LoadGivenUp(Message):
    """Loading ended because the person stopped it."""


@dataclass
class LoadFailed(Message):
    """Loading ended with an error."""

    error: Exception


@dataclass
class ModelSwitched(Message):
    """Another model answers from here on."""

    label: str
    context_size: int
    """Tokens."""
    notes: tuple[str, ...]
    """What a person should know about how it was loaded."""
    prompt_format: PromptFormat
    lost_adapters: bool
    """Whether the model before had adapters, which the new one has not."""


@dataclass
class SwitchFailed(Message):
    """The model stays what it was."""

    reason: str
    """Empty where the person gave the load up."""
    loaded: bool
    """Whether it is loaded."""


@dataclass
class AdaptersChanged(Message):
    """Other adapters are plugged in, or they could not be."""

    notes: tuple[str, ...]
    """What a person should know about it: why nothing changed, where nothing did."""
    prompt_format: PromptFormat
    """How the model reads a conversation now."""


@dataclass
class ReplyStarted(Message):
    """The model begins to read the prompt."""

    turn: int
    context_used: int
    """Tokens of the prompt."""
    dropped_turns: int
    """How many of the oldest turns the prompt had no room for."""


@dataclass
class ReplyText(Message):
    """More of the reply, in whole characters."""

    turn: int
    text: str
    pieces: int
    """How many pieces the engine gave it in: nearly always tokens."""


@dataclass(frozen=True, slots=True)
class ReplyFigures:
    """How a reply ended, and how quickly it came."""

    finish: str
    """`stop`, `length` or `cancelled`."""
    tokens: int
    seconds: float
    """Time spent generating, after the prompt."""
    prompt_tokens: int
    prompt_seconds: float

    @property
    def tokens_per_second(self) -> float:
        """0 when nothing was timed."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


@dataclass
class ReplyEnded(Message):
    """The reply is complete, or was stopped."""

    turn: int
    context_used: int
    """Tokens of the prompt and the reply."""
    figures: ReplyFigures


@dataclass
class ReplyFailed(Message):
    """The engine could not reply."""

    turn: int
    sentence: str


@dataclass
class Forecast(Message):
    """What the message that is being written would do to the context."""

    number: int
    tokens: int
    """Of the whole conversation and the message."""
    drops: int
    """How many more of the oldest turns would have to go."""
    refusal: str
    """Why the message cannot be sent at all; empty if it can."""
