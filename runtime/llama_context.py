"""One sequence in a llama.cpp context: evaluated block by block, so that reuse never changes a result.

Kernels give slightly different sums for different batch shapes (up to 0.03 in a logit), so what a token's state is
depends on how the tokens before it were cut into batches. Therefore the cut is part of the request: a sequence is a
list of blocks, each evaluated in one call, and only equal leading blocks are ever reused. A result is then a pure
function of its blocks, whatever the context evaluated before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from configs.errors import ToolError
from runtime.llama_library import api, last_error
from runtime.llama_model import LlamaModel

MAX_OUTPUTS = 16
"""Positions of one block whose logits can be asked for; a small number keeps the compute buffer small."""

Block = tuple[int, ...]
Logits = npt.NDArray[np.float32]


class AbortedError(Exception):
    """The abort callback asked for the end of an evaluation."""


class LlamaContext:
    """A key-value cache of `size` tokens and the means to fill it.

    Args:
        size: tokens, prompt and reply together.
        batch: most tokens of one block.
        aborted: asked all the time while evaluating; True ends it with `AbortedError`.

    Raises:
        ToolError: llama.cpp cannot make the context; most often the memory does not suffice.
    """

    def __init__(self, model: LlamaModel, *, size: int, batch: int, threads: int, aborted: Callable[[], bool]) -> None:
        self.size = size
        self.batch = batch
        self._model = model
        self._blocks: list[Block] = []
        self._abort = api.ggml_abort_callback(lambda _data: aborted())
        self.handle = self._create(threads)
        self._memory = api.llama_get_memory(self.handle)
        self._plug_in_adapters()
        self._arrays = _Batch(batch)

    def free(self) -> None:
        if self.handle:
            api.llama_free(self.handle)
            self.handle = None

    def evaluate(self, blocks: Sequence[Block], outputs: Sequence[int]) -> Iterator[tuple[int, Logits]]:
        """Evaluate the sequence these blocks form, and yield (position, logits) for every position in `outputs`.

        The logits are a view that the next step of the iteration overwrites.

        Raises:
            AbortedError: the abort callback said so.
            ToolError: the blocks do not fit, or llama.cpp fails.
        """
        self._check(blocks, outputs)
        kept, at = self._reusable(blocks, min(outputs))
        self._truncate(kept, at)
        for block in blocks[len(self._blocks) :]:
            at = sum(map(len, self._blocks))
            wanted = [position - at for position in outputs if at <= position < at + len(block)]
            self._decode(block, at, wanted)
            self._blocks.append(block)
            for index in wanted:
                yield at + index, self._logits(index)

    def append(self, block: Block, outputs: Sequence[int]) -> Iterator[tuple[int, Logits]]:
        """Evaluate one block more after those the context holds; positions count from the sequence's start."""
        return self.evaluate([*self._blocks, block], outputs)

    def _check(self, blocks: Sequence[Block], outputs: Sequence[int]) -> None:
        """Everything that llama.cpp would answer by ending the process."""
        total = sum(map(len, blocks))
        if total > self.size:
            raise ToolError(f"{total} tokens do not fit the context of {self.size}")
        if not outputs or not 0 <= min(outputs) <= max(outputs) < total or len(outputs) > MAX_OUTPUTS:
            raise ToolError(f"logits of {len(outputs)} positions cannot be asked of {total} tokens")
        vocabulary = self._model.vocabulary.size
        for block in blocks:
            if not 0 < len(block) <= self.batch or min(block) < 0 or max(block) >= vocabulary:
                raise ToolError("a block is empty, too long or holds a token that the vocabulary lacks")

    def _reusable(self, blocks: Sequence[Block], first_output: int) -> tuple[int, int]:
        """(number, tokens) of leading blocks that are evaluated already and whose logits are not asked for."""
        kept = tokens = 0
        for held, wanted in zip(self._blocks, blocks, strict=False):
            if held != wanted or tokens + len(wanted) > first_output:
                break
            kept, tokens = kept + 1, tokens + len(wanted)
        return kept, tokens

    def _truncate(self, kept: int, tokens: int) -> None:
        """Forget all but the first blocks; a model that cannot forget a part (recurrent) forgets all."""
        if api.llama_memory_seq_rm(self._memory, 0, tokens, -1):
            self._blocks = self._blocks[:kept]
        else:
            api.llama_memory_clear(self._memory, False)
            self._blocks = []

    def _decode(self, block: Block, at: int, outputs: Sequence[int]) -> None:
        last_error()
        result = int(api.llama_decode(self.handle, self._arrays.filled(block, at, outputs)))
        if result == 0:
            return
        if result == 2:
            raise AbortedError
        reason = "no room in the key-value cache" if result == 1 else last_error()
        raise ToolError(f"llama.cpp failed to evaluate {len(block)} tokens (code {result}: {reason})")

    def _logits(self, index: int) -> Logits:
        pointer = api.llama_get_logits_ith(self.handle, index)
        if not pointer:
            raise ToolError("llama.cpp gave no logits")
        return np.ctypeslib.as_array(pointer, shape=(self._model.vocabulary.size,))

    def _create(self, threads: int) -> object:
        parameters = api.llama_context_default_params()
        parameters.n_ctx = self.size
        parameters.n_batch = parameters.n_ubatch = self.batch
        parameters.n_seq_max = 1
        parameters.n_outputs_max = MAX_OUTPUTS
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_AUTO
        parameters.abort_callback = self._abort
        last_error()
        handle = api.llama_init_from_model(self._model.handle, parameters)
        if not handle:
            raise ToolError(
                f"llama.cpp cannot make a context of {self.size} tokens: {last_error()}",
                hint="a smaller --ctx-size or fewer --gpu-layers take less memory",
            )
        return handle

    def _plug_in_adapters(self) -> None:
        adapters = self._model.adapters
        if not adapters:
            return
        handles = (api.llama_adapter_lora_p_ctypes * len(adapters))(*(handle for handle, _ in adapters))
        weights = (ctypes.c_float * len(adapters))(*(weight for _, weight in adapters))
        if api.llama_set_adapters_lora(self.handle, handles, len(adapters), weights):
            raise ToolError(f"llama.cpp cannot plug in the adapters: {last_error()}")


class _Batch:
    """The arrays of a llama_batch for one sequence, filled without a loop over tokens."""

    def __init__(self, size: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._sequence_counts = np.ones(size, np.int32)
        self._outputs = np.zeros(size, np.int8)
        self._sequence = (ctypes.c_int32 * 1)(0)
        pointer = ctypes.cast(self._sequence, ctypes.POINTER(ctypes.c_int32))
        self._sequences = (ctypes.POINTER(ctypes.c_int32) * size)(*([pointer] * size))

    def filled(self, tokens: Block, at: int, outputs: Sequence[int]) -> object:
        count = len(tokens)
        self._tokens[:count] = tokens
        self._positions[:count] = np.arange(at, at + count)
        self._outputs[:count] = 0
        self._outputs[list(outputs)] = 1
        return api.llama_batch(
            n_tokens=count,
            token=self._tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            embd=None,
            pos=self._positions.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            n_seq_id=self._sequence_counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._sequences,
            logits=self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
