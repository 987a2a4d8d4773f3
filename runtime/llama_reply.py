"""One reply on its way: what is evaluated, how the next token is drawn, and the stream its reader sees."""

from __future__ import annotations

import codecs
import queue
import threading
import time
from collections.abc import Iterator, Sequence

from configs.errors import ConfigError
from runtime.interface import Finish, Sampling
from runtime.llama_context import Logits
from runtime.llama_model import LlamaModel
from runtime.llama_sampler import LlamaSampler
from runtime.llama_slots import Slot
from runtime.stops import StopFilter


class LlamaStream:
    """A reply on its way from the engine's thread to whoever iterates."""

    def __init__(self, prompt_tokens: int) -> None:
        self.finish: Finish = ""
        self.prompt_tokens = prompt_tokens
        self.tokens = 0
        self.prompt_seconds = 0.0
        self.seconds = 0.0
        self.cancelled = threading.Event()
        self.pieces: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        """Text, then None at the end or the exception that ended it."""

    def cancel(self) -> None:
        self.cancelled.set()

    def __iter__(self) -> Iterator[str]:
        while True:
            try:
                piece = self.pieces.get(timeout=0.5)  # Ctrl-C cannot interrupt an endless wait on Windows
            except queue.Empty:
                continue
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece


class Reply:
    """A sequence: `ids` are the prompt and what was drawn so far, `slot` the cells they are in.

    Raises:
        ConfigError: the grammar is wrong.
    """

    def __init__(self, prompt_ids: Sequence[int], sampling: Sampling, model: LlamaModel, grammar: str | None) -> None:
        self.stream = LlamaStream(len(prompt_ids))
        self.ids = list(prompt_ids)
        self.exact = sampling.seed is not None or sampling.temperature <= 0
        """The same prompt and sampling must give the same text again."""
        self.slot: Slot | None = None
        self._sampling = sampling
        self._vocabulary = model.vocabulary
        self._sampler = LlamaSampler(sampling, model, prompt_ids, grammar)
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = StopFilter(sampling.stop)
        self._stop_tokens = self._special_stops()
        self._started = 0.0

    @property
    def cancelled(self) -> bool:
        return self.stream.cancelled.is_set()

    @property
    def pending(self) -> int:
        """Tokens that are not in cells yet: the rest of the prompt, or the token drawn last."""
        return len(self.ids) - (len(self.slot.tokens) if self.slot else 0)

    @property
    def generating(self) -> bool:
        """Whether one token is all there is to evaluate."""
        return self.stream.tokens > 0 and self.pending == 1

    def start(self) -> None:
        """The clock of prompt processing runs from here."""
        self._started = self._started or time.perf_counter()

    def draw(self, logits: Logits, room: int) -> Finish:
        """Take the next token from the logits after the last one, and send its text.

        Args:
            room: positions the context has left for this sequence.

        Returns:
            Why the reply ends, or empty.
        """
        if not self.stream.tokens and not self.stream.prompt_seconds:
            self.stream.prompt_seconds = time.perf_counter() - self._started
        token = self._sampler.draw(logits)
        if token in self._stop_tokens or self._vocabulary.ends_reply(token):
            return "stop"
        self.ids.append(token)
        self.stream.tokens += 1
        self._send(self._text.decode(self._vocabulary.piece(token)))
        if self._stops.stopped:
            return "stop"
        if self.stream.tokens >= self._sampling.max_tokens or not room:
            return "length"
        return ""

    def end(self, finish: Finish) -> None:
        """Let the reader know, and give the sampler back."""
        if held := self._stops.flush():
            self.stream.pieces.put(held)
        self._close()
        self.stream.finish = finish
        self.stream.pieces.put(None)

    def fail(self, error: BaseException) -> None:
        """End with an error that the reader gets."""
        self._close()
        self.stream.pieces.put(error)

    def _close(self) -> None:
        if self._started:
            self.stream.seconds = max(0.0, time.perf_counter() - self._started - self.stream.prompt_seconds)
        self._sampler.free()

    def _special_stops(self) -> set[int]:
        """Stop strings that are special tokens: those end a reply as a token, being invisible as text."""
        found = set()
        for stop in self._sampling.stop:
            try:
                found.add(self._vocabulary.special(stop))
            except ConfigError:
                continue
        return found

    def _send(self, text: str) -> None:
        if shown := self._stops.feed(text):
            self.stream.pieces.put(shown)
