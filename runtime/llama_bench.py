"""llama.cpp by itself: its own calls in a bare loop, so that what this program adds to them can be told."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from configs.errors import ToolError
from runtime.interface import ScoreRequest
from runtime.llama_batch import SequenceBatch
from runtime.llama_labels import label_tree
from runtime.llama_library import api, physical_cores
from runtime.llama_model import LlamaModel
from runtime.models import ModelPlan

_BATCH = 512
_CELLS_STEP = 256


@dataclass(frozen=True, slots=True)
class Cost:
    """What some tokens took."""

    tokens: int
    cpu: float
    """CPU seconds of this process, all threads."""
    wall: float
    """Seconds on the clock."""

    @property
    def per_second(self) -> float:
        return self.tokens / self.wall

    @property
    def per_cpu_second(self) -> float:
        return self.tokens / self.cpu


class BareLlama:
    """A model and one context with one sequence."""

    def __init__(self, plan: ModelPlan) -> None:
        self.model = LlamaModel(plan)
        self._threads = plan.options.threads or physical_cores()
        self._batch = SequenceBatch(_BATCH)
        self._never = api.ggml_abort_callback(lambda _data: False)  # kept: C holds no reference
        self._context: object = None
        self._memory: object = None

    def open(self, cells: int) -> None:
        """Make the context, for that many tokens."""
        self._context = self.model.new_context(
            cells=-(-cells // _CELLS_STEP) * _CELLS_STEP,
            batch=_BATCH,
            sequences=1,
            outputs=1,
            threads=self._threads,
            abort=self._never,
        )
        self._memory = api.llama_get_memory(self._context)

    def close(self) -> None:
        if self._context:
            api.llama_free(self._context)
        self.model.free()

    def prefill(self, tokens: int) -> Cost:
        """Evaluate that many tokens of a prompt, logits after the last."""
        self._truncate(0)
        ids = [3 + at * 7919 % (self.model.vocabulary.size - 3) for at in range(tokens)]
        return _cost(tokens, lambda: self._evaluate(ids, 0))

    def generate(self, tokens: int) -> Cost:
        """Evaluate that many tokens one by one after a prompt of 64, as writing a reply does."""
        self.prefill(64)

        def write() -> None:
            for at in range(tokens):
                self._evaluate([3 + at], 64 + at)

        return _cost(tokens, write)

    def walk(self, requests: Iterable[ScoreRequest]) -> Cost:
        """Evaluate the tree that these prompts form, in this order: nothing that a prompt begins with like the one
        before it is evaluated again."""
        steps: list[tuple[int, list[tuple[int, ...]]]] = []  # (tokens to keep, parts to evaluate after them)
        before: list[tuple[int, ...]] = []
        for request in requests:
            prompt = tuple(request.prompt)
            *parts, last = (prompt[begin:end] for begin, end in pairwise([0, *request.cuts, len(prompt)]))
            kept = 0
            while kept < min(len(parts), len(before)) and parts[kept] == before[kept]:
                kept += 1
            leaf = (*last, *label_tree(request.continuations).tokens)
            steps.append((sum(map(len, parts[:kept])), [*parts[kept:], leaf]))
            before = parts
        self._truncate(0)

        def evaluate() -> None:
            for kept, parts in steps:
                self._truncate(kept)
                at = kept
                for part in parts:
                    self._evaluate(part, at)
                    at += len(part)

        return _cost(sum(len(part) for _, parts in steps for part in parts), evaluate)

    def _evaluate(self, ids: Sequence[int], at: int) -> None:
        for begin in range(0, len(ids), _BATCH):
            part = ids[begin : begin + _BATCH]
            self._batch.clear()
            self._batch.add(part, at + begin, range(1), output=begin + len(part) == len(ids))
            code = api.llama_decode(self._context, self._batch.view())
            if code:
                raise ToolError(f"llama.cpp failed to evaluate {len(part)} tokens (code {code})")

    def _truncate(self, at: int) -> None:
        api.llama_memory_seq_rm(self._memory, 0, at, -1)


def built_with() -> str:
    """The processor features and backends that this build of llama.cpp uses."""
    text: bytes = ctypes.cast(api.llama_print_system_info(), ctypes.c_char_p).value or b""
    return text.decode("utf-8", "replace").strip()


def _cost(tokens: int, function: Callable[[], None]) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return Cost(tokens, time.process_time() - cpu, time.perf_counter() - wall)
