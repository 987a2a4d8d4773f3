"""The generation context: one key-value cache that several sequences share, cell by cell.

A sequence that ended keeps its cells until somebody needs them, so that a chat's next turn evaluates only what is new.
Kernels give slightly different sums for different batch shapes and for different places in the cache; so every slot
remembers how many of its leading tokens were evaluated as they would be in an empty cache, alone, in whole blocks.
A reply that must be reproducible reuses only those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from configs.errors import ToolError
from runtime.llama_arrays import np
from runtime.llama_batch import SequenceBatch
from runtime.llama_context import AbortedError, Logits
from runtime.llama_library import api, last_error
from runtime.llama_model import LlamaModel
from runtime.llama_slots import BLOCK, Slot, common_start, exact_start


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens to evaluate at the end of a slot."""

    slot: Slot
    tokens: Sequence[int]
    output: bool
    """Whether the logits after the last token are wanted."""


class GenerationContext:
    """A cache of `cells` tokens for `slots` sequences of at most `size` tokens each.

    Args:
        aborted: asked all the time while evaluating; True ends it with `AbortedError`.

    Raises:
        ToolError: llama.cpp cannot make the context; most often the memory does not suffice.
    """

    def __init__(
        self, model: LlamaModel, *, size: int, cells: int, slots: int, threads: int, aborted: Callable[[], bool]
    ) -> None:
        self.size = size
        self.cells = cells
        self.slots = [Slot(number) for number in range(slots)]
        self._vocabulary = model.vocabulary.size
        self._batch = SequenceBatch(BLOCK + slots)
        self._clock = 0
        self._abort = api.ggml_abort_callback(lambda _data: aborted())  # kept: C holds no reference
        self.handle = model.new_context(
            cells=cells,
            batch=self._batch.size,
            sequences=slots,
            outputs=slots,
            threads=threads,
            abort=self._abort,
        )
        self._memory = api.llama_get_memory(self.handle)

    def free(self) -> None:
        if self.handle:
            api.llama_free(self.handle)
            self.handle = None

    @property
    def used(self) -> int:
        """Cells that hold a token. Shared ones count for every slot, so there may be more room than this says."""
        return sum(len(slot.tokens) for slot in self.slots)

    def take(self, prompt: Sequence[int], *, exact: bool) -> Slot:
        """A slot for a new sequence, holding as much of the prompt as was evaluated already.

        Args:
            exact: reuse only what cannot change a bit; meant for when no slot is busy.
        """
        slot = self._take_exact(prompt) if exact else self._take_longest(prompt)
        if not self.used:
            api.llama_memory_clear(self._memory, False)  # the next cell is the first again
        slot.busy = True
        return slot

    def release(self, slot: Slot) -> None:
        """End a sequence; its cells stay until they are needed."""
        self._clock += 1
        slot.busy, slot.used_at = False, self._clock

    def forget(self, slot: Slot) -> None:
        """Give the cells of a slot back."""
        self._truncate(slot, 0)

    def make_room(self, tokens: int) -> bool:
        """Forget idle slots, the longest unused first, until `tokens` fit; False if the busy ones fill the cache."""
        idle = sorted((slot for slot in self.slots if not slot.busy and slot.tokens), key=lambda slot: slot.used_at)
        while self.used + tokens > self.cells and idle:
            self.forget(idle.pop(0))
        return self.used + tokens <= self.cells

    def forget_idle(self) -> bool:
        """Forget every idle slot; False if none held anything."""
        idle = [slot for slot in self.slots if not slot.busy and slot.tokens]
        for slot in idle:
            self.forget(slot)
        return bool(idle)

    def evaluate(self, parts: Sequence[Part]) -> list[int]:
        """Evaluate the parts in one batch; returns for each the index of its last token, for `logits`.

        Raises:
            AbortedError: the abort callback said so; the slots are as before.
            CacheFullError: the cells did not suffice; the slots are as before.
            ToolError: llama.cpp fails; the cells of these slots are given back.
        """
        self._check(parts)
        alone = len(parts) == 1 and self.used == len(parts[0].slot.tokens)
        self._batch.clear()
        indices = [
            self._batch.add(
                part.tokens, len(part.slot.tokens), range(part.slot.number, part.slot.number + 1), output=part.output
            )
            for part in parts
        ]
        last_error()
        result = int(api.llama_decode(self.handle, self._batch.view()))
        if result:
            self._undo(parts, result)
        for part in parts:
            slot = part.slot
            if alone and len(slot.tokens) == slot.exact and len(part.tokens) == BLOCK:
                slot.exact += BLOCK
            slot.tokens += part.tokens
        return indices

    def logits(self, index: int) -> Logits:
        """Logits after the token at `index` of the last batch: a view that the next `evaluate` overwrites."""
        pointer = api.llama_get_logits_ith(self.handle, index)
        if not pointer:
            raise ToolError("llama.cpp gave no logits")
        logits = np.ctypeslib.as_array(pointer, shape=(self._vocabulary,))
        if not np.isfinite(logits).all():
            raise ToolError("the model computes values that are not numbers; its weights are broken")
        return logits

    def _take_exact(self, prompt: Sequence[int]) -> Slot:
        """The slot with the longest reproducible start; everything else is forgotten, so that nothing is in the way."""
        slot = max(self.slots, key=lambda slot: exact_start(slot, prompt))
        for other in self.slots:
            if other is not slot:
                self.forget(other)
        self._truncate(slot, exact_start(slot, prompt))
        return slot

    def _take_longest(self, prompt: Sequence[int]) -> Slot:
        """The slot with the longest common start; where it is busy, or holds much else, its start is shared."""
        idle = [slot for slot in self.slots if not slot.busy]
        source = max(self.slots, key=lambda slot: (common_start(slot.tokens, prompt), not slot.busy))
        common = common_start(source.tokens, prompt)
        if not source.busy and 2 * common >= len(source.tokens):
            self._truncate(source, common)
            return source
        target = min(
            (slot for slot in idle if slot is not source), key=lambda slot: (len(slot.tokens) > 0, slot.used_at)
        )
        self.forget(target)
        if common:
            api.llama_memory_seq_cp(self._memory, source.number, target.number, 0, common)
            target.tokens = source.tokens[:common]
        return target

    def _truncate(self, slot: Slot, length: int) -> None:
        """Forget all but the first tokens; a model that cannot forget a part (recurrent) forgets all."""
        if length >= len(slot.tokens):
            return
        if not api.llama_memory_seq_rm(self._memory, slot.number, length, -1):
            length = 0
            api.llama_memory_seq_rm(self._memory, slot.number, -1, -1)
        del slot.tokens[length:]
        slot.exact = min(slot.exact, length // BLOCK * BLOCK)

    def _check(self, parts: Sequence[Part]) -> None:
        """Everything that llama.cpp would answer by ending the process."""
        if not parts or sum(len(part.tokens) for part in parts) > self._batch.size:
            raise ToolError("a batch is empty or too long")
        for part in parts:
            if not part.tokens or min(part.tokens) < 0 or max(part.tokens) >= self._vocabulary:
                raise ToolError("a sequence is empty or holds a token that the vocabulary lacks")
            if len(part.slot.tokens) + len(part.tokens) > self.size:
                raise ToolError(f"a sequence does not fit the context of {self.size}")

    def _undo(self, parts: Sequence[Part], result: int) -> None:
        """Take back what a failed batch left in the cache, and raise what its code means."""
        if result in (1, 2):
            for part in parts:
                kept = len(part.slot.tokens)
                if not api.llama_memory_seq_rm(self._memory, part.slot.number, kept, -1):
                    self.forget(part.slot)
            raise CacheFullError if result == 1 else AbortedError
        for part in parts:
            self.forget(part.slot)
        raise ToolError(f"llama.cpp failed to evaluate {self._batch.count} tokens (code {result}: {last_error()})")


class CacheFullError(Exception):
    """llama.cpp found no cells for a batch."""
