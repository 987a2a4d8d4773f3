"""The context that prompts are scored in: evaluated block by block, so that reuse never changes a result.

Kernels give slightly different sums for different batch shapes and for different places in the cache (up to 0.03 in a
logit), so what a token's state is depends on how the tokens before it were cut into batches. Therefore the cut is part
of what is asked: the start of a prompt is a list of blocks, each evaluated in one call and standing cell by cell from
the cache's first on, and only equal leading blocks are ever reused. What follows them, the branches, is evaluated in
one go and forgotten at once. So a result is a pure function of the blocks and branches, whatever was evaluated before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from configs.errors import ToolError
from runtime.llama_arrays import np, npt
from runtime.llama_batch import SequenceBatch
from runtime.llama_library import api, last_error
from runtime.llama_model import LlamaModel

MAX_BLOCK = 256
"""Tokens of a block. Measured on a CPU, 64 to 256 tokens a batch are the quickest."""
MAX_OUTPUTS = 32
"""Positions of a batch whose logits can be asked for; a small number keeps the compute buffer small."""
MAX_BRANCHES = 32
"""Sequences at a time; llama.cpp ends the process where there are more of them than outputs."""

_CELLS_STEP = 256

Block = tuple[int, ...]
Logits = npt.NDArray[np.float32]


class AbortedError(Exception):
    """The abort callback asked for the end of an evaluation."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive tokens of some branches: position `at` and on, in every sequence of `sequences`."""

    tokens: Sequence[int]
    at: int
    sequences: range
    output: bool = False
    """Whether the logits after the last token are wanted."""


class ScoringContext:
    """A key-value cache with one start and, for the time of one evaluation, branches that go on from it.

    Args:
        size: tokens of the longest prompt with its label; the cache grows where branches need more.
        pack: most tokens of a batch of branches; 0 where only one prompt at a time is evaluated.
        aborted: asked all the time while evaluating; True ends it with `AbortedError`.

    Raises:
        ToolError: llama.cpp cannot make the context; most often the memory does not suffice.
    """

    def __init__(self, model: LlamaModel, *, size: int, pack: int, threads: int, aborted: Callable[[], bool]) -> None:
        self.size = size
        self._model = model
        self._threads = threads
        self._abort = api.ggml_abort_callback(lambda _data: aborted())  # kept: C holds no reference
        self._batch = SequenceBatch(max(MAX_BLOCK + MAX_OUTPUTS, pack))
        self._blocks: list[Block] = []
        self._cells = 0
        self.handle: object = None
        self._memory: object = None
        self._make_room(size)

    def free(self) -> None:
        if self.handle:
            api.llama_free(self.handle)
            self.handle = None

    def evaluate(self, start: Sequence[Block], branches: Sequence[Run]) -> Iterator[Logits]:
        """Evaluate a start, then branches from its end; yield the logits that the branches want, in their order.

        The branches' sequences count from 0 and the runs of each follow each other. The logits are a view that the next
        step of the iteration overwrites.

        Raises:
            AbortedError: the abort callback said so.
            ToolError: llama.cpp fails, or a token is none of the vocabulary's.
        """
        self._check(start, branches)
        self._make_room(sum(map(len, start)) + sum(len(run.tokens) for run in branches))
        try:
            self._hold(start)
            yield from self._branch(branches)
            self._forget_branches(branches)
        except BaseException:  # also when whoever iterates gives up in between
            self._clear()
            raise

    def _hold(self, start: Sequence[Block]) -> None:
        """Make the cache hold exactly this start."""
        kept = 0
        while kept < min(len(start), len(self._blocks)) and start[kept] == self._blocks[kept]:
            kept += 1
        self._truncate(kept)
        for block in start[len(self._blocks) :]:
            self._decode([Run(block, self._held, range(1))])
            self._blocks.append(block)

    @property
    def _held(self) -> int:
        return sum(map(len, self._blocks))

    def _branch(self, branches: Sequence[Run]) -> Iterator[Logits]:
        for sequence in range(1, _sequences(branches)):
            api.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
        for runs in _batches(branches, self._batch.size):
            for index in self._decode(runs):
                yield self._logits(index)

    def _forget_branches(self, branches: Sequence[Run]) -> None:
        for sequence in range(1, _sequences(branches)):
            api.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        self._truncate(len(self._blocks))

    def _truncate(self, kept: int) -> None:
        """Forget all but the first blocks; a model that cannot forget a part (recurrent) forgets all."""
        del self._blocks[kept:]
        if not api.llama_memory_seq_rm(self._memory, 0, self._held, -1):
            self._clear()

    def _clear(self) -> None:
        self._blocks = []
        if self.handle:
            api.llama_memory_clear(self._memory, False)

    def _decode(self, runs: Sequence[Run]) -> list[int]:
        """Evaluate one batch; returns the indices in it of the outputs."""
        self._batch.clear()
        ends = [self._batch.add(run.tokens, run.at, run.sequences, output=run.output) for run in runs]
        last_error()
        result = int(api.llama_decode(self.handle, self._batch.view()))
        if result == 2:
            raise AbortedError
        if result:
            reason = "no room in the key-value cache" if result == 1 else last_error()
            raise ToolError(f"llama.cpp failed to evaluate {self._batch.count} tokens (code {result}: {reason})")
        return [end for end, run in zip(ends, runs, strict=True) if run.output]

    def _logits(self, index: int) -> Logits:
        pointer = api.llama_get_logits_ith(self.handle, index)
        if not pointer:
            raise ToolError("llama.cpp gave no logits")
        return np.ctypeslib.as_array(pointer, shape=(self._model.vocabulary.size,))

    def _check(self, start: Sequence[Block], branches: Sequence[Run]) -> None:
        """Everything that llama.cpp would answer by ending the process."""
        vocabulary = self._model.vocabulary.size
        for tokens in (*start, *(run.tokens for run in branches)):
            if not len(tokens) or min(tokens) < 0 or max(tokens) >= vocabulary:
                raise ToolError("a prompt is empty or holds a token that the vocabulary lacks")
        too_many = sum(run.output for run in branches) > MAX_OUTPUTS or _sequences(branches) > MAX_BRANCHES
        if too_many or any(len(block) > MAX_BLOCK for block in start):
            raise ToolError("a block is too long, or there are too many branches")

    def _make_room(self, cells: int) -> None:
        if cells <= self._cells:
            return
        self.free()
        self._blocks = []
        self._cells = -(-cells // _CELLS_STEP) * _CELLS_STEP
        self.handle = self._model.new_context(
            cells=self._cells,
            batch=self._batch.size,
            sequences=MAX_BRANCHES,
            outputs=MAX_OUTPUTS,
            threads=self._threads,
            abort=self._abort,
        )
        self._memory = api.llama_get_memory(self.handle)


def _sequences(branches: Sequence[Run]) -> int:
    return max((run.sequences.stop for run in branches), default=0)


def _batches(branches: Sequence[Run], size: int) -> Iterator[list[Run]]:
    """Cut the branches into as few batches as possible, about equally large, of at most `size` tokens."""
    total = sum(len(run.tokens) for run in branches)
    size = -(-total // max(1, -(-total // size)))
    batch: list[Run] = []
    room = size
    for run in branches:
        done = 0
        while done < len(run.tokens):
            part = min(room, len(run.tokens) - done)
            if part == 0:
                yield batch
                batch, room = [], size
                continue
            ends = done + part == len(run.tokens)
            batch.append(Run(run.tokens[done : done + part], run.at + done, run.sequences, run.output and ends))
            done, room = done + part, room - part
    if batch:
        yield batch
