"""How much memory this process takes."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path


def resident() -> int:
    """Bytes that this process holds in memory now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_resident() -> int:
    """Most bytes that this process has held in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak(*, on_gpu: bool) -> int:
    """Most bytes that training has held so far: on the GPU what its allocator took, else of the process."""
    if on_gpu:
        import torch

        return int(torch.cuda.max_memory_reserved())
    return peak_resident()
