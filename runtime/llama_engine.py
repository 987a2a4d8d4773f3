"""The engine on llama.cpp: one thread that owns one context, and a queue of work for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from configs.errors import ConfigError, ToolError
from configs.prompt import Tokenizer
from runtime.interface import Sampling, ScoreRequest
from runtime.llama_context import AbortedError, LlamaContext
from runtime.llama_jobs import GenerateJob, LlamaStream
from runtime.llama_library import physical_cores
from runtime.llama_model import LlamaModel
from runtime.llama_scoring import score
from runtime.models import ModelPlan

_DEFAULT_CONTEXT = 4096
_CONTEXT_STEP = 256
_BATCH = 256  # no caller has longer blocks


class Job(Protocol):
    """One piece of work for the engine's thread."""

    @property
    def cancelled(self) -> bool: ...

    def run(self, context: LlamaContext) -> None:
        """Do it. AbortedError may be raised; every other failure is the job's to report."""

    def fail(self, error: BaseException) -> None:
        """Report a failure before or during `run`."""


class LlamaEngine:
    """A loaded model and its thread. Work is done one piece at a time, in the order it was submitted.

    Raises:
        ConfigError: `ctx_size` is larger than the model's context.
    """

    def __init__(self, plan: ModelPlan, on_progress: Callable[[float], bool] | None = None) -> None:
        options = plan.options
        self.formats = plan.formats
        self._model = LlamaModel(plan, on_progress)
        self.tokenizer: Tokenizer = self._model.vocabulary
        self.notes = (*plan.notes, *self._model.notes)
        if options.ctx_size > self._model.context_limit:
            self._model.free()
            raise ConfigError(f"--ctx-size {options.ctx_size} is more than the model's {self._model.context_limit}")
        self.pack_tokens = options.pack_tokens
        self._limit = options.ctx_size or self._model.context_limit
        self._size = min(self._limit, options.ctx_size or _DEFAULT_CONTEXT)
        self._threads = options.threads or physical_cores()
        self._context: LlamaContext | None = None
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._running: Job | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="llama", daemon=True)
        self._thread.start()

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

    def submit(self, prompt_ids: Sequence[int], sampling: Sampling) -> LlamaStream:
        if not 0 < len(prompt_ids) < self._size:
            raise ToolError(f"the prompt has {len(prompt_ids)} tokens, the context holds {self._size}")
        job = GenerateJob(tuple(prompt_ids), sampling, self._model)
        self._put(job)
        return job.stream

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        job = _CallJob(lambda context: [score(context, request) for request in requests])
        self._put(job)
        return job.result()

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._jobs.put(None)
        self._thread.join()

    def _put(self, job: Job) -> None:
        if self._closing.is_set():
            raise ToolError("the engine is closed")
        self._jobs.put(job)

    def _work(self) -> None:
        """The thread: run jobs until told to end, then free what C holds."""
        while (job := self._jobs.get()) is not None:
            self._running = job
            try:
                if self._aborted():
                    raise AbortedError
                job.run(self._context_of_size())
            except Exception as error:  # noqa: BLE001  the thread must outlive every failure
                job.fail(error)
            self._running = None
        if self._context:
            self._context.free()
        self._model.free()

    def _context_of_size(self) -> LlamaContext:
        """The context, made when first needed and made anew when `reserve` changed its size."""
        if self._context and self._context.size != self._size:
            self._context.free()
            self._context = None
        if self._context is None:
            self._context = LlamaContext(
                self._model, size=self._size, batch=_BATCH, threads=self._threads, aborted=self._aborted
            )
        return self._context

    def _aborted(self) -> bool:
        job = self._running
        return self._closing.is_set() or (job is not None and job.cancelled)


class _CallJob:
    """A function to call with the context, and a place to wait for what it returns."""

    cancelled = False

    def __init__(self, function: Callable[[LlamaContext], list[list[float]]]) -> None:
        self._function = function
        self._future: Future[list[list[float]]] = Future()

    def run(self, context: LlamaContext) -> None:
        self._future.set_result(self._function(context))

    def fail(self, error: BaseException) -> None:
        self._future.set_exception(ToolError("the engine was closed") if isinstance(error, AbortedError) else error)

    def result(self) -> list[list[float]]:
        while True:
            try:
                return self._future.result(timeout=0.5)  # Ctrl-C cannot interrupt an endless wait on Windows
            except TimeoutError:
                if self._future.done():
                    raise
