"""What a caller of an engine sees: options, sampling, and the Engine and Stream protocols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from configs.label_rule import by_label

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
    pack_tokens: int = 0
    """Tokens of the rows to be scored together; zero leaves it to the engine (see `Engine.pack_tokens`)."""
    parallel: int = 1
    """Replies that are written at the same time; more wait in line. They share a cache of one context, or of 4,096
    tokens where each needs less: `Engine.reserve` says how much."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One prompt and the labels to weigh against each other.

    Kernels give other bits for other batches, so where a prompt is cut into batches is part of the request. `cuts` are
    the token counts, ascending, after which a batch ends; prompts that begin alike up to a cut share what was evaluated
    up to there.
    """

    prompt: Sequence[int]
    continuations: tuple[tuple[int, ...], ...]
    """Ids of every spelling of every label. None may begin another."""
    cuts: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    """The label, counted from 0, that each continuation spells; empty where each is a label of its own."""

    def by_label(self, log_probabilities: Sequence[float]) -> list[float]:
        """One log probability for every label from one for every continuation: its spellings exclude each other."""
        if not self.labels:
            return list(log_probabilities)
        return by_label(self.labels, log_probabilities)

    @property
    def length(self) -> int:
        """Tokens of the prompt and its longest continuation."""
        return len(self.prompt) + max(map(len, self.continuations))


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

    tokenizer: Tokenizer
    pack_tokens: int
    """Tokens that one call of `score` should bring to be quick; 0: one question at a time is as quick as many."""

    @property
    def formats(self) -> Formats:
        """The prompt format, and the question format where one is known."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences a person should read: which format was chosen, what was stepped down."""
        ...

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

    def submit(self, prompt_ids: Sequence[int], sampling: Sampling, *, grammar: str | None = None) -> Stream:
        """Begin a reply, or put it in line; returns at once.

        With a seed, or at temperature 0, the same prompt gives the same text again, whatever was asked before, as long
        as no other reply runs at the same time: batches of several round otherwise.

        Args:
            grammar: GBNF that the reply has to follow (`runtime.grammars` makes some).

        Raises:
            ToolError: the prompt is empty or leaves no room for a token.
            ConfigError: the grammar cannot be read.
        """
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Natural-log probability of every label, each as a whole, given the prompt, for every request.

        The requests of one call are evaluated together, and the same call gives the same bits whatever was evaluated
        before it. Send what belongs together: the orders of one question, or with `pack_tokens` a pack of questions.

        Raises:
            ToolError: prompt and continuation do not fit the context, or the engine was closed.
        """
        ...

    def set_adapters(self, adapters: Sequence[tuple[Path, float]]) -> tuple[str, ...]:
        """Plug in exactly these LoRA files with these weights, and take all others out; the model stays loaded.

        Work submitted before is finished with the old ones first. `formats` may change: where the model and an adapter
        both carry some, the adapter's win. Returns the sentences a person should read about that.

        Raises:
            ConfigError: a file is missing or was made for another model; nothing has changed then.
            ToolError: llama.cpp refused one; nothing has changed then.
        """
        ...

    def close(self) -> None:
        """Give the model back; running work ends as cancelled. Safe to call twice."""
        ...
