"""Shared memory that DeepSpeed leaves behind: 69 MB for each process of a training on a CPU, until the next boot."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_FOLDER = Path("/dev/shm")  # noqa: S108  POSIX shared memory lives there on Linux
_PROCESSES = Path("/proc")
_PREFIX = "deepspeed_allreduce_buffer"
_MAPPED = re.compile(rf"/({_PREFIX}_\S+)")
_FRESH_SECONDS = 5.0
"""A training that starts has made its segment a moment before it maps it."""


def remove_orphans() -> None:
    """Remove the segments of this user that no process holds any more."""
    mine = f"{_PREFIX}_{os.getuid()}_"
    found = [path for path in _FOLDER.glob(f"{mine}*") if _age(path) > _FRESH_SECONDS]
    if found:
        held = _held()
        for path in found:
            if path.name not in held:
                path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """Seconds; 0 of what is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _held() -> set[str]:
    """Names of the segments that some process of ours has mapped."""
    names: set[str] = set()
    for maps in _PROCESSES.glob("[0-9]*/maps"):
        try:
            names.update(_MAPPED.findall(maps.read_text()))
        except OSError:  # another user's, or gone meanwhile
            continue
    return names
