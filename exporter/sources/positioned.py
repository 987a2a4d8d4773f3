"""Reading a part of a file into a buffer at hand, from any thread."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

from configs.errors import ToolError


def expect_order(file: FileIO) -> None:
    """Tell the system that a file will be read front to back, by and large: it reads further ahead, in larger pieces.

    From a cold cache that takes a tenth of the system's time (0.15 s instead of 1.5 to 3 for 2.2 GB).
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)


def read_into(file: FileIO, path: Path, view: memoryview, offset: int) -> None:
    """Fill `view` from `offset`. Positioned reads, so that threads share one descriptor.

    Raises:
        ToolError: the file ends before.
    """
    done = 0
    while done < len(view):
        if hasattr(os, "preadv"):
            count = os.preadv(file.fileno(), [view[done:]], offset + done)
        else:  # Windows: no positioned read, so a descriptor of its own for every call
            with path.open("rb", buffering=0) as own:
                own.seek(offset + done)
                count = own.readinto(view[done:]) or 0
        if not count:
            raise ToolError(f"{path} became shorter while it was read")
        done += count
