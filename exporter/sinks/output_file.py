"""A file written front to back, hashed as it is written, with its disk space claimed first."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from exporter.tensor import FileRecord

_UNABLE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What file systems answer that cannot claim space ahead; writing to them works all the same."""


class OutputFile:
    """One output file of a known size."""

    def __init__(self, path: Path, size: int) -> None:
        """Create the file and claim its space, so that a full disk shows now and not at 90 %.

        Raises:
            OSError: ENOSPC, EFBIG or EDQUOT where the space is not there.
        """
        self.path = path
        self._size = size
        self._written = 0
        self._hash = hashlib.sha256()
        self._file = path.open("wb", buffering=0)
        try:
            self._claim()
        except BaseException:
            self._file.close()
            raise

    def _claim(self) -> None:
        if not self._size or not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(self._file.fileno(), 0, self._size)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes; a write that the system cuts short goes on where it stopped."""
        view = memoryview(data)
        self._hash.update(view)
        self._written += len(view)
        while view:
            view = view[self._file.write(view) :]

    def finish(self) -> FileRecord:
        """Close; returns size and hash."""
        self._file.close()
        if self._written != self._size:
            raise AssertionError(f"{self.path.name}: {self._written} bytes written, {self._size} planned")
        return FileRecord(self._size, self._hash.hexdigest())

    def abort(self) -> None:
        """Close what a failure left open."""
        self._file.close()
