"""Raw text for continued pre-training: documents end to end, cut into blocks, the ids in a file and not in memory."""

from __future__ import annotations

import fcntl
import mmap
import struct
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from configs.atomic import staged_file

_TRAILER = struct.Struct("<QQ")  # documents, ids
_COUNT_BYTES, _ID_BYTES = 8, 4


class TextBlocks:
    """Documents, each with its BOS and EOS, one after another; `blocks` cuts them anew every `length` ids.

    A block may hold several documents, and its later ones see the earlier ones: the usual way of pre-training. Use as a
    context manager: what it is told in vain is forgotten.

    Args:
        encode: ids of a document.
        kept: where the ids stay for the next run, which then encodes nothing: its name must tell the documents and the
            tokenizer. None keeps them as long as the blocks live.
    """

    def __init__(self, length: int, encode: Callable[[str], Sequence[int]], kept: Path | None = None) -> None:
        self._length = length
        self._encode = encode
        self._kept = kept
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._held: _Kept | None = None
        self._counts = array("q")
        self._ids = 0
        self._names: list[str] = []

    def __enter__(self) -> TextBlocks:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def add(self, name: str, text: str) -> None:
        """Append a document; the blocks that begin in it bear its name."""
        if self._file is None and self._held is None:
            self._open()
        count = next(self._held.counts) if self._held else self._write(self._encode(text))
        while len(self._names) * self._length < self._ids + count:
            self._names.append(name)
        self._ids += count

    def blocks(self) -> list[tuple[str, Sequence[int]]]:
        """(name, ids) of every block; the last one may be short. Ids are read from the file when they are asked for."""
        if not self._ids:
            return []
        ids = self._held.ids if self._held else self._finished()
        starts = range(0, self._ids, self._length)
        return [(name, ids[start : start + self._length]) for name, start in zip(self._names, starts, strict=True)]

    def _open(self) -> None:
        """Find the ids, or a file to write them to; of several processes the first writes and the others wait."""
        if self._kept is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the blocks do
            return
        self._kept.parent.mkdir(exist_ok=True)
        self._stack.enter_context(_locked(self._kept.with_suffix(".lock")))
        self._held = _Kept.of(self._kept)
        if self._held is None:
            partial = self._stack.enter_context(staged_file(self._kept))
            self._file = self._stack.enter_context(partial.open("w+b"))

    def _write(self, ids: Sequence[int]) -> int:
        assert self._file is not None
        self._file.write(array("i", ids).tobytes())
        self._counts.append(len(ids))
        return len(ids)

    def _finished(self) -> memoryview:
        """The ids that were written; a file that is kept gets its end and its name."""
        assert self._file is not None
        self._file.write(self._counts.tobytes())
        self._file.write(_TRAILER.pack(len(self._counts), self._ids))
        self._file.flush()
        ids = _mapped(self._file)[: self._ids * _ID_BYTES].cast("i")
        self._stack.close()
        return ids


class _Kept:
    """Ids that an earlier run wrote."""

    def __init__(self, whole: memoryview, documents: int, ids: int) -> None:
        end = ids * _ID_BYTES
        self.ids = whole[:end].cast("i")
        self.counts: Iterator[int] = iter(whole[end : end + documents * _COUNT_BYTES].cast("q"))

    @classmethod
    def of(cls, path: Path) -> _Kept | None:
        """What the file holds; None where there is none, or no whole one."""
        try:
            with path.open("rb") as file:
                whole = _mapped(file)
        except (OSError, ValueError):  # none, or an empty one
            return None
        if len(whole) < _TRAILER.size:
            return None
        documents, ids = _TRAILER.unpack(whole[-_TRAILER.size :])
        is_whole = len(whole) == ids * _ID_BYTES + documents * _COUNT_BYTES + _TRAILER.size
        return cls(whole, documents, ids) if is_whole else None


def _mapped(file: BinaryIO) -> memoryview:
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock; it vanishes with this process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
