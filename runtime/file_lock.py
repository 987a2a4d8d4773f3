"""A file opened under a lock that vanishes with its process, and that no child process inherits."""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path

from configs.atomic import fsync_folder
from configs.errors import ToolError

_LOCK_OFFSET = 1 << 40  # Windows locks are mandatory: a byte far beyond the end keeps the file readable


class LockedFile:
    """A file open for reading and appending, which no other process holds at the same time.

    The lock is the operating system's: it goes with the process, kill -9 too. Children never hold it on: the descriptor
    is closed when another program is started, and closed by hand in a fork.

    Raises:
        ToolError: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = _open_locked(path)
        self._entered = False
        _open_files.add(self)

    def append(self, data: bytes) -> None:
        """Write in one system call, at the end whatever was read before.

        Raises:
            OSError: the disk is full.
        """
        if os.write(self.descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def read(self) -> bytes:
        """The whole file."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            file.seek(0)
            return file.read()

    @property
    def size(self) -> int:
        """Bytes."""
        return os.fstat(self.descriptor).st_size

    def truncate(self, size: int) -> None:
        """Cut the file off after `size` bytes."""
        os.ftruncate(self.descriptor, size)

    def sync(self) -> None:
        """Wait until everything is on the disk, the file's name too."""
        os.fsync(self.descriptor)
        if not self._entered:
            fsync_folder(self.path.parent)
            self._entered = True

    def close(self) -> None:
        """Let the lock go. Safe to call twice."""
        descriptor, self.descriptor = self.descriptor, -1
        _open_files.discard(self)
        if descriptor >= 0:
            os.close(descriptor)


_open_files: weakref.WeakSet[LockedFile] = weakref.WeakSet()


def _close_in_child() -> None:
    for file in list(_open_files):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _open_locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            _lock(descriptor, path)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever held the lock before removed the file: what is written to it would be lost


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path) -> None:
    """Take the file's lock without waiting; file systems without locks do without."""
    try:
        _try_lock(descriptor)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise ToolError(f"another run is writing {path}", hint="wait for it, or choose another --output") from None


def _try_lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        os.lseek(descriptor, _LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
