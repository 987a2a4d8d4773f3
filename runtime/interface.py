"""What a caller of an engine sees: options, sampling, and the Engine and Stream protocols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:  # pydantic and jinja2 would cost every `--help` a tenth of a second
    from configs.formats import Formats
    from configs.prompt import Tokenizer

Finish = Literal["", "stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; `seed=None` draws a new seed for every reply."""

    temperature: float = 0.2
    top_p: float = 0.9
    top_k: int = 40
    repeat_penalty: float = 1.1
    max_tokens: int = 400
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model to load and how; zero and empty mean "choose for me"."""

    model: Path
    adapters: tuple[tuple[Path, float], ...] = ()
    prompt_format: str = ""
    question_format: str = ""
    threads: int = 0
    gpu_layers: int | str = "auto"
    ctx_size: int = 0


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One prompt and the continuations to weigh against each other.

    `shared_tokens` says how many leading prompt ids are the format's own and so the same for every
    row. They are evaluated apart, which lets an engine keep them: a result never depends on
    whether it did.
    """

    prompt: Sequence[int]
    continuations: tuple[tuple[int, ...], ...]
    shared_tokens: int = 0


class Stream(Protocol):
    """One reply on its way. Iterate it once, for text in whole characters."""

    finish: Finish
    """Empty until the end, then why it ended."""
    prompt_tokens: int
    tokens: int
    """Tokens generated."""
    prompt_seconds: float
    """Time from the start of prompt processing to the first token."""
    seconds: float
    """Time spent generating, after the prompt."""

    def __iter__(self) -> Iterator[str]: ...

    def cancel(self) -> None:
        """End the reply soon, prompt processing included; thread-safe, returns at once."""
        ...


class Engine(Protocol):
    """A loaded model. Callers submit work from any thread and get streams or scores."""

    formats: Formats
    tokenizer: Tokenizer
    notes: tuple[str, ...]
    """Sentences a person should read: which format was chosen, what was stepped down."""

    @property
    def context_size(self) -> int:
        """Tokens a sequence can hold, prompt and reply together."""
        ...

    @property
    def context_limit(self) -> int:
        """The most tokens `reserve` can make room for: `ctx_size`, or the model's own context."""
        ...

    def reserve(self, tokens: int) -> None:
        """Make the context just large enough for sequences of `tokens` tokens.

        Raises:
            ToolError: more than `context_limit`.
        """
        ...

    def submit(self, prompt_ids: Sequence[int], sampling: Sampling) -> Stream:
        """Queue a reply.

        Raises:
            ToolError: the prompt is empty or leaves no room for a token.
        """
        ...

    def score(self, request: ScoreRequest) -> list[float]:
        """Natural-log probability of every continuation, each as a whole, given the prompt.

        The same request gives the same bits whatever was evaluated before it.

        Raises:
            ToolError: prompt and continuation do not fit the context, or the engine was closed.
        """
        ...

    def close(self) -> None:
        """Give the model back; running work ends as cancelled. Safe to call twice."""
        ...
