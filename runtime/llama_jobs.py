"""What the engine's thread does with its context to write a reply."""

from __future__ import annotations

import codecs
import queue
import threading
import time
from collections.abc import Iterator, Sequence

from configs.errors import ConfigError
from runtime.interface import Finish, Sampling
from runtime.llama_context import AbortedError, Block, LlamaContext
from runtime.llama_model import LlamaModel
from runtime.llama_sampler import LlamaSampler
from runtime.llama_scoring import check_finite
from runtime.stops import StopFilter

# A chat's prompts are cut at multiples of this, so that the next turn reuses all but the last block.
# Blocks below 64 tokens take slower kernels; larger ones leave more to evaluate again.
_REPLY_BLOCK = 128


def cut(ids: Sequence[int], size: int) -> list[Block]:
    """Blocks of at most `size` tokens, cut at multiples of it."""
    return [tuple(ids[at : at + size]) for at in range(0, len(ids), size)]


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


class GenerateJob:
    """Writes one reply into its stream."""

    def __init__(self, prompt_ids: Block, sampling: Sampling, model: LlamaModel) -> None:
        self.stream = LlamaStream(len(prompt_ids))
        self._prompt_ids = prompt_ids
        self._sampling = sampling
        self._model = model
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = StopFilter(sampling.stop)

    @property
    def cancelled(self) -> bool:
        return self.stream.cancelled.is_set()

    def run(self, context: LlamaContext) -> None:
        sampler = LlamaSampler(self._sampling, self._model, self._prompt_ids)
        start = time.perf_counter()
        try:
            finish = self._write(context, sampler, start)
        finally:
            sampler.free()
        self.stream.seconds = time.perf_counter() - start - self.stream.prompt_seconds
        self._end(finish)

    def fail(self, error: BaseException) -> None:
        if isinstance(error, AbortedError):
            self._end("cancelled")
        else:
            self.stream.pieces.put(error)

    def _write(self, context: LlamaContext, sampler: LlamaSampler, start: float) -> Finish:
        """Evaluate the prompt, then draw and evaluate token by token."""
        stop_tokens = self._stop_tokens()
        blocks = cut(self._prompt_ids, _REPLY_BLOCK)
        used = len(self._prompt_ids)
        for _, logits in context.evaluate(blocks, [used - 1]):
            check_finite(logits)
        self.stream.prompt_seconds = time.perf_counter() - start
        while not self.cancelled:
            token = sampler.draw(context, -1)
            if token in stop_tokens or self._model.vocabulary.ends_reply(token):
                return "stop"
            self.stream.tokens += 1
            self._send(self._text.decode(self._model.vocabulary.piece(token)))
            if self._stops.stopped:
                return "stop"
            if self.stream.tokens >= self._sampling.max_tokens or used == context.size:
                return "length"
            for _ in context.append((token,), [used]):
                pass
            used += 1
        return "cancelled"

    def _stop_tokens(self) -> set[int]:
        """Stop strings that are special tokens: those end a reply as a token, being invisible as text."""
        found = set()
        for stop in self._sampling.stop:
            try:
                found.add(self._model.vocabulary.special(stop))
            except ConfigError:
                continue
        return found

    def _send(self, text: str) -> None:
        if shown := self._stops.feed(text):
            self.stream.pieces.put(shown)

    def _end(self, finish: Finish) -> None:
        if held := self._stops.flush():
            self.stream.pieces.put(held)
        self.stream.finish = finish
        self.stream.pieces.put(None)
