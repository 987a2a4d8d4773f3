"""Raw text for continued pre-training: documents end to end, cut into blocks, the ids in a file and not in memory."""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path


class TextBlocks:
    """Documents, each with its BOS and EOS, one after another; `blocks` cuts them anew every `length` ids.

    A block may hold several documents, and its later ones see the earlier ones: the usual way of pre-training.
    """

    def __init__(self, length: int, folder: Path | None = None) -> None:
        """Open an unnamed file in a folder; without one, where the system has its temporary files."""
        self._length = length
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  it lives as long as the blocks do
        self._ids = 0
        self._names: list[str] = []

    def add(self, name: str, ids: Sequence[int]) -> None:
        """Append a document; the blocks that begin in it bear its name."""
        while len(self._names) * self._length < self._ids + len(ids):
            self._names.append(name)
        self._file.write(array("i", ids).tobytes())
        self._ids += len(ids)

    def blocks(self) -> list[tuple[str, Sequence[int]]]:
        """(name, ids) of every block; the last one may be short. Ids are read from the file when they are asked for."""
        if not self._ids:
            return []
        self._file.flush()
        ids = memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)).cast("i")
        starts = range(0, self._ids, self._length)
        return [(name, ids[start : start + self._length]) for name, start in zip(self._names, starts, strict=True)]
