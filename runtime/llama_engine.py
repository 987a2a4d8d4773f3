"""The engine on llama.cpp: one thread that owns the model and its contexts, and takes turns between two kinds of work.

Writing and scoring each have a context of their own, made when first needed: scoring has its cache to itself, so that
its results are bit-identical, and replies share theirs. The thread alternates: one step of all replies, one scoring.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, ToolError
from configs.formats import Formats
from configs.prompt import Tokenizer
from runtime.interface import Sampling, ScoreRequest
from runtime.llama_calls import Call
from runtime.llama_cells import GenerationContext
from runtime.llama_context import AbortedError, ScoringContext
from runtime.llama_devices import PACK
from runtime.llama_library import physical_cores
from runtime.llama_model import MAX_SEQUENCES, LlamaModel
from runtime.llama_reply import LlamaStream, Reply
from runtime.llama_scheduler import Scheduler
from runtime.llama_scoring import score
from runtime.llama_trial import try_grammar, try_model
from runtime.models import ModelPlan, plan_adapters

_DEFAULT_CONTEXT = 4096
_CONTEXT_STEP = 256
_KEPT_SLOTS = 3
"""Sequences that ended and whose cells are kept, besides those that run."""


class LlamaEngine:
    """A loaded model and its thread.

    Raises:
        ConfigError: `parallel` is larger than llama.cpp allows.
    """

    def __init__(self, plan: ModelPlan, on_progress: Callable[[float], bool] | None = None) -> None:
        options = plan.options
        if not 0 < options.parallel <= MAX_SEQUENCES - _KEPT_SLOTS:
            raise ConfigError(f"{options.parallel} replies at once are not 1 to {MAX_SEQUENCES - _KEPT_SLOTS}")
        self._plan = plan
        self._model = LlamaModel(plan, on_progress)
        self.tokenizer: Tokenizer = self._model.vocabulary
        self.pack_tokens = options.pack_tokens or (PACK if self._model.gpu_layers else 0)
        self._limit = options.ctx_size or self._model.context_limit
        self._size = min(self._limit, options.ctx_size or _DEFAULT_CONTEXT)
        self._threads = options.threads or physical_cores()
        self._scoring: ScoringContext | None = None
        self._generation: GenerationContext | None = None
        self._scheduler = Scheduler(self._generation_context, options.parallel)
        self._calls: deque[Call] = deque()
        self._barrier: Call | None = None
        self._inbox: queue.SimpleQueue[Reply | Call | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="llama", daemon=True)
        self._thread.start()

    @property
    def formats(self) -> Formats:
        return self._plan.formats

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self._plan.notes, *self._model.notes)

    @property
    def context_size(self) -> int:
        return self._size

    @property
    def context_limit(self) -> int:
        return self._limit

    def reserve(self, tokens: int) -> None:
        if tokens > self._limit:
            raise ToolError(f"{tokens} tokens do not fit the context of {self._limit}")
        self._size = min(self._limit, -(-max(tokens, 1) // _CONTEXT_STEP) * _CONTEXT_STEP)

    def submit(self, prompt_ids: Sequence[int], sampling: Sampling, *, grammar: str | None = None) -> LlamaStream:
        if not 0 < len(prompt_ids) < self._size:
            raise ToolError(f"the prompt has {len(prompt_ids)} tokens, the context holds {self._size}")
        self._check_open()
        if grammar is not None:
            try_grammar(grammar)
        reply = Reply(prompt_ids, sampling, self._model, grammar)
        self._put(reply)
        return reply.stream

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        scores: list[list[float]] = self._run(Call(lambda: self._score(requests)))
        return scores

    def set_adapters(self, adapters: Sequence[tuple[Path, float]]) -> tuple[str, ...]:
        plan = plan_adapters(self._plan, adapters)
        try_model(plan)
        self._run(Call(lambda: self._exchange(plan), alone=True))
        return plan.notes

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._inbox.put(None)
        self._thread.join()

    def _put(self, work: Reply | Call) -> None:
        self._check_open()
        self._inbox.put(work)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ToolError("the engine is closed")

    def _run(self, call: Call) -> Any:
        """Have the engine's thread make a call, and wait for what it returns."""
        self._put(call)
        return call.result()

    def _work(self) -> None:
        """The thread: take turns until told to end, then free what C holds."""
        while self._receive():
            self._scheduler.step()
            if self._calls:
                self._calls.popleft().run()
        self._scheduler.end_all()
        for call in [*self._calls, *([self._barrier] if self._barrier else []), *self._left_over()]:
            call.fail(AbortedError())
        self._free_contexts()
        self._model.free()

    def _receive(self) -> bool:
        """Take what arrived, waiting only where nothing is left to do; False at the end.

        A call that must run alone waits for what came before it, and everything behind it waits for it.
        """
        while not self._closing.is_set():
            idle = self._scheduler.idle and not self._calls
            if self._barrier:
                if not idle:
                    return True
                self._barrier.run()
                self._barrier = None
            try:
                work = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if isinstance(work, Reply):
                self._scheduler.submit(work)
            elif isinstance(work, Call) and work.alone:
                self._barrier = work
            elif work:
                self._calls.append(work)
        return False

    def _left_over(self) -> list[Call]:
        """What arrived while the engine closed; replies among it end as cancelled."""
        calls = []
        while not self._inbox.empty():
            work = self._inbox.get()
            if isinstance(work, Reply):
                work.end("cancelled")
            elif work:
                calls.append(work)
        return calls

    def _score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        return score(self._scoring_context(), requests)

    def _exchange(self, plan: ModelPlan) -> None:
        """Plug other adapters in. What the contexts hold was computed with the old ones, so they go."""
        self._free_contexts()
        self._model.plug_in(plan.adapters)
        self._plan = plan

    def _free_contexts(self) -> None:
        for context in (self._scoring, self._generation):
            if context:
                context.free()
        self._scoring = self._generation = None

    def _scoring_context(self) -> ScoringContext:
        """The context, made when first needed and made anew when `reserve` changed its size."""
        if self._scoring and self._scoring.size != self._size:
            self._scoring.free()
            self._scoring = None
        if self._scoring is None:
            self._scoring = ScoringContext(
                self._model, size=self._size, pack=self.pack_tokens, threads=self._threads, aborted=self._closing.is_set
            )
        return self._scoring

    def _generation_context(self) -> GenerationContext:
        """As above. All replies together get as many cells as one needs, or as one chat would have by default."""
        parallel = self._plan.options.parallel
        if self._generation and self._generation.size != self._size:
            self._generation.free()
            self._generation = None
        if self._generation is None:
            self._generation = GenerationContext(
                self._model,
                size=self._size,
                cells=max(self._size, min(parallel * self._size, _DEFAULT_CONTEXT)),
                slots=parallel + _KEPT_SLOTS,
                threads=self._threads,
                aborted=lambda: self._closing.is_set() or self._scheduler.aborted,
            )
        return self._generation
