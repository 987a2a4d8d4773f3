"""An engine that plays a script: deterministic, no weights. For tests and screenshots."""

from __future__ import annotations

import hashlib
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from configs.errors import ToolError
from configs.formats import Formats
from configs.prompt import PromptFormat
from runtime.interface import Finish, ModelOptions, Sampling, ScoreRequest
from runtime.stops import StopFilter

_PIECE = re.compile(r"\s*[A-Za-z0-9]+|\s*.", re.DOTALL)
_SPECIAL_IDS = 0x110000  # beyond the last code point


class CharacterTokenizer:
    """One token a character; special tokens get ids beyond Unicode."""

    def __init__(self) -> None:
        self._specials: dict[str, int] = {}

    def plain(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def special(self, token: str) -> int:
        return self._specials.setdefault(token, _SPECIAL_IDS + len(self._specials))


class ScriptedStream:
    """Plays one reply piece by piece, in the thread that iterates it."""

    def __init__(self, reply: str, prompt_tokens: int, sampling: Sampling, engine: ScriptedEngine) -> None:
        self.finish: Finish = ""
        self.prompt_tokens = prompt_tokens
        self.tokens = 0
        self.prompt_seconds = 0.0
        self.seconds = 0.0
        self._pieces = _PIECE.findall(reply)
        self._sampling = sampling
        self._engine = engine
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def __iter__(self) -> Iterator[str]:
        self._cancelled.wait(self._engine.prefill_seconds)
        self.prompt_seconds = self._engine.prefill_seconds
        stops = StopFilter(self._sampling.stop)
        for at, piece in enumerate(self._pieces):
            if self._engine.error and 2 * at >= len(self._pieces):
                raise ToolError(self._engine.error)
            if self._cancelled.wait(self._engine.token_seconds):
                self.finish = "cancelled"
                return
            if self.tokens == self._sampling.max_tokens:
                self.finish = "length"
                break
            self.tokens += 1
            self.seconds += self._engine.token_seconds
            if text := stops.feed(piece):
                yield text
            if stops.stopped:
                break
        self.finish = self.finish or "stop"
        if text := stops.flush():
            yield text


class ScriptedEngine:
    """Gives the replies of a list in turn, and starts over after the last.

    Args:
        tokens_per_second: 0 plays without delay.
        load_seconds: how long `load` takes; the constructor never waits.
        prefill_seconds: wait before the first piece of every reply; cancelling cuts it short.
        error: when not empty, every reply fails with this ToolError half-way.
    """

    def __init__(
        self,
        replies: Sequence[str] = (),
        *,
        tokens_per_second: float = 0,
        load_seconds: float = 0,
        prefill_seconds: float = 0,
        error: str = "",
        context_size: int = 4096,
        formats: Formats | None = None,
    ) -> None:
        self.formats = formats or Formats(prompt=PromptFormat.load("alpaca2"), question=None)
        self.tokenizer = CharacterTokenizer()
        self.notes: tuple[str, ...] = ()
        self.prompts: list[tuple[int, ...]] = []
        """Every prompt submitted, for tests to look at."""
        self.grammars: list[str | None] = []
        """The grammar of every prompt; the script is played whether it follows it or not."""
        self.adapters: tuple[tuple[Path, float], ...] = ()
        self.token_seconds = 1 / tokens_per_second if tokens_per_second else 0.0
        self.load_seconds = load_seconds
        self.prefill_seconds = prefill_seconds
        self.error = error
        self.context_limit = context_size
        self.context_size = context_size
        self.pack_tokens = 0
        self.closed = False
        self._replies = list(replies) or [""]

    def load(self, options: ModelOptions, *, on_progress: Callable[[float], bool] | None = None) -> ScriptedEngine:
        """Stand in for `load_engine`: takes `load_seconds`, reports progress, gives up when told."""
        steps = 20
        for step in range(steps + 1):
            if on_progress and not on_progress(step / steps):
                raise ToolError("the load was given up")
            if step < steps:
                time.sleep(self.load_seconds / steps)
        return self

    def reserve(self, tokens: int) -> None:
        if tokens > self.context_limit:
            raise ToolError(f"{tokens} tokens do not fit the context of {self.context_limit}")

    def submit(self, prompt_ids: Sequence[int], sampling: Sampling, *, grammar: str | None = None) -> ScriptedStream:
        if not 0 < len(prompt_ids) < self.context_size:
            raise ToolError(f"the prompt has {len(prompt_ids)} tokens, the context holds {self.context_size}")
        reply = self._replies[len(self.prompts) % len(self._replies)]
        self.prompts.append(tuple(prompt_ids))
        self.grammars.append(grammar)
        return ScriptedStream(reply, len(prompt_ids), sampling, self)

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Log probabilities drawn from a hash of each request: arbitrary, but always the same."""
        return [self._score(request) for request in requests]

    def _score(self, request: ScoreRequest) -> list[float]:
        weights = [
            1 + int.from_bytes(hashlib.sha256(repr((request.prompt, ids)).encode()).digest()[:2])
            for ids in request.continuations
        ]
        return request.by_label([math.log(weight / (sum(weights) + 1)) for weight in weights])

    def set_adapters(self, adapters: Sequence[tuple[Path, float]]) -> tuple[str, ...]:
        self.adapters = tuple(adapters)
        return ()

    def close(self) -> None:
        self.closed = True
