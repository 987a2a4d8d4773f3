"""The arrays of a llama_batch that holds tokens of several sequences, filled without a loop over tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from runtime.llama_arrays import np
from runtime.llama_library import api
from runtime.llama_model import MAX_SEQUENCES


class SequenceBatch:
    """Room for `size` tokens; every token belongs to one sequence, or to several with consecutive numbers."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._sequence_counts = np.zeros(size, np.int32)
        self._outputs = np.zeros(size, np.int8)
        self._numbers = np.arange(MAX_SEQUENCES, dtype=np.int32)
        self._sequences = np.zeros(size, np.uintp)

    def clear(self) -> None:
        self.count = 0

    def add(self, tokens: Sequence[int], at: int, sequences: range, *, output: bool) -> int:
        """Append tokens of these sequences from position `at` on; returns the index of the last.

        Args:
            output: whether the logits after the last token are wanted.
        """
        start, end = self.count, self.count + len(tokens)
        if not start < end <= self.size:
            raise ValueError(f"{end} tokens in a batch of {self.size}")
        self._tokens[start:end] = tokens
        self._positions[start:end] = np.arange(at, at + len(tokens))
        self._sequences[start:end] = self._numbers.ctypes.data + sequences.start * self._numbers.itemsize
        self._sequence_counts[start:end] = len(sequences)
        self._outputs[start:end] = 0
        self._outputs[end - 1] = output
        self.count = end
        return end - 1

    def view(self) -> object:
        """The llama_batch; valid until the next `add`."""
        return api.llama_batch(
            n_tokens=self.count,
            token=_pointer(self._tokens, ctypes.c_int32),
            embd=None,
            pos=_pointer(self._positions, ctypes.c_int32),
            n_seq_id=_pointer(self._sequence_counts, ctypes.c_int32),
            seq_id=_pointer(self._sequences, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._outputs, ctypes.c_int8),
        )


def _pointer(array: np.ndarray, kind: type) -> object:
    return array.ctypes.data_as(ctypes.POINTER(kind))
