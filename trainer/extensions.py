"""Locks of torch's C++ extension builds.

DeepSpeed builds a small extension at its first start on a CPU. A build that is killed leaves a lock file behind, and
every later start polls for it without end (torch's FileBaton).
"""

from __future__ import annotations

import os
from pathlib import Path


def remove_locks(*, before: float = float("inf"), after: float = float("-inf")) -> None:
    """Remove the build locks of DeepSpeed's extensions that were made in a span of time, in seconds since the epoch."""
    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    folder = Path(root) if root else Path.home() / ".cache" / "torch_extensions"
    for lock in folder.rglob("lock"):
        if lock.parent.name.startswith("deepspeed") and after <= lock.stat().st_mtime <= before:
            lock.unlink(missing_ok=True)
