"""One engine for every tab: each has a chat of its own, none may change what the others talk to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ConfigError
from tui.settings import Load, Models

if TYPE_CHECKING:
    from configs.formats import Formats
    from configs.prompt import Tokenizer
    from runtime.engine import Engine, ModelOptions, Sampling, ScoreRequest, Stream


class SharedEngine:
    """An engine as one tab sees it. Replies of several tabs wait in line."""

    def __init__(self, engine: Engine) -> None:
        self.tokenizer: Tokenizer = engine.tokenizer
        self.pack_tokens = engine.pack_tokens
        self._engine = engine

    @property
    def formats(self) -> Formats:
        return self._engine.formats

    @property
    def notes(self) -> tuple[str, ...]:
        return self._engine.notes

    @property
    def context_size(self) -> int:
        return self._engine.context_size

    @property
    def context_limit(self) -> int:
        return self._engine.context_limit

    def reserve(self, tokens: int) -> None:
        self._engine.reserve(tokens)

    def submit(self, prompt_ids: Sequence[int], sampling: Sampling, *, grammar: str | None = None) -> Stream:
        return self._engine.submit(prompt_ids, sampling, grammar=grammar)

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        return self._engine.score(requests)

    def set_adapters(self, adapters: Sequence[tuple[Path, float]]) -> tuple[str, ...]:
        raise ConfigError("the tabs share one model: adapters are chosen when the command starts")

    def close(self) -> None:
        """The engine is the server's."""


@dataclass(frozen=True, slots=True)
class OneModel(Models):
    """The model of every tab; it is loaded already, and stays."""

    def other(self, path: Path) -> Load:
        raise ConfigError("the tabs share one model: start the command with another --model")


def one_model(options: ModelOptions, engine: Engine) -> OneModel:
    """What a tab's worker loads."""

    def load(_: ModelOptions, on_progress: Callable[[float], bool]) -> Engine:
        on_progress(1.0)
        return SharedEngine(engine)

    return OneModel(options, load)
