"""What the engine's thread does with its context: weigh continuations, or write a reply."""

from __future__ import annotations

import codecs
import queue
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from configs.errors import ConfigError, ToolError
from runtime.interface import Finish, Sampling, ScoreRequest
from runtime.llama_context import AbortedError, Block, LlamaContext, Logits
from runtime.llama_model import LlamaModel
from runtime.llama_sampler import LlamaSampler
from runtime.stops import StopFilter

# A chat's prompts are cut at multiples of this, so that the next turn reuses all but the last block.
# Blocks below 64 tokens take slower kernels; larger ones leave more to evaluate again.
_REPLY_BLOCK = 128

# The cut of a scored prompt is part of its result, so it does not depend on the machine. Measured on a CPU, 64 to 256
# tokens a block are the quickest.
_SCORE_BLOCK = 256

# Continuations of several tokens are evaluated together with this many of the prompt's last tokens: see `cut_evenly`.
_TAIL = 2


def score(context: LlamaContext, request: ScoreRequest) -> list[float]:
    """Log probability of every continuation, the start they share evaluated once with the prompt."""
    prompt, start = request.prompt, common_start(request.continuations)
    rests = [ids[len(start) :] for ids in request.continuations]
    blocks = _blocks(request, start, tail=_TAIL if max(map(len, rests)) > 1 else 0)
    outputs = range(len(prompt) - 1, len(prompt) + len(start))
    last: Logits | None = None
    base = 0.0
    for position, logits in context.evaluate(blocks, outputs):
        if position < outputs[-1]:
            base += log_probability(logits, start[position - outputs[0]])
        else:
            last = logits.copy()
    assert last is not None
    return [base + _rest_of(context, blocks, last, rest) for rest in rests]


def _blocks(request: ScoreRequest, start: Block, tail: int) -> list[Block]:
    """The shared tokens, the prompt's others with `start`, and the last `tail` of these by themselves."""
    shared, own = request.prompt[: request.shared_tokens], (*request.prompt[request.shared_tokens :], *start)
    if len(own) < 2 + tail:
        shared, own = (), (*shared, *own)
    middle = max(0, len(own) - tail)
    return [*cut_evenly(shared), *cut_evenly(own[:middle]), *cut_evenly(own[middle:])]


def _rest_of(context: LlamaContext, blocks: list[Block], last: Logits, ids: Block) -> float:
    """Log probability of one continuation after the shared start, whose last logits are `last`."""
    if not ids:
        return 0.0
    total = log_probability(last, ids[0])
    if len(ids) > 1:
        at = sum(map(len, blocks))
        block = (*blocks[-1], *ids[:-1])
        for position, logits in context.evaluate([*blocks[:-1], block], range(at, at + len(ids) - 1)):
            total += log_probability(logits, ids[position - at + 1])
    return total


def common_start(sequences: Sequence[Block]) -> Block:
    """The longest start that all sequences have."""
    shortest = min(sequences, key=len)
    differing = (at for at, tokens in enumerate(zip(*sequences, strict=False)) if len(set(tokens)) > 1)
    return shortest[: next(differing, len(shortest))]


def log_probability(logits: Logits, token: int) -> float:
    """Log softmax of one token, summed in float64.

    Raises:
        ToolError: the logits are not numbers: broken weights.
    """
    _check_finite(logits)
    shifted = logits.astype(np.float64) - float(logits.max())
    return float(shifted[token] - np.log(np.exp(shifted).sum()))


def _check_finite(logits: Logits) -> None:
    if not np.isfinite(logits).all():
        raise ToolError("the model computes values that are not numbers; its weights are broken")


def cut(ids: Sequence[int], size: int) -> list[Block]:
    """Blocks of at most `size` tokens, cut at multiples of it."""
    return [tuple(ids[at : at + size]) for at in range(0, len(ids), size)]


def cut_evenly(ids: Sequence[int]) -> list[Block]:
    """As few blocks as possible, as equal as possible: none is a single token unless `ids` is.

    The attention kernel for one token splits its sum among the threads, so its result depends on their number.
    """
    count = -(-len(ids) // _SCORE_BLOCK)
    return [tuple(ids[len(ids) * at // count : len(ids) * (at + 1) // count]) for at in range(count)]


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
            _check_finite(logits)
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
