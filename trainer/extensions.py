"""The C++ extension that DeepSpeed builds at its first start on a CPU.

It takes about a minute, once. A build that is killed leaves a lock file behind, and every later start polls for it
without end (torch's FileBaton).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from configs.errors import MachineError

_EXTENSION = "deepspeed_shm_comm"


def scripts_path(path: str, scripts: str) -> str:
    """PATH with the environment's scripts in front: `ninja` is there, activated or not."""
    return scripts + os.pathsep + path if path else scripts


def is_built() -> bool:
    """Whether the extension of a CPU start is there already."""
    return any(_folder().rglob(f"{_EXTENSION}/*.so"))


def check_compiler(path: str) -> None:
    """Refuse a start that would have to build the extension and cannot.

    Args:
        path: the PATH that the build will see.

    Raises:
        MachineError: there is no C++ compiler or no ninja.
    """
    for needed, programs in (("a C++ compiler", (os.environ.get("CXX", "c++"), "g++")), ("ninja", ("ninja",))):
        if not any(shutil.which(program, path=path) for program in programs):
            raise MachineError(
                f"DeepSpeed must build an extension once, and this machine has no {needed.removeprefix('a ')}",
                hint="install it, or train with --deepspeed none",
            )


def _folder() -> Path:
    """Root of torch's built extensions: one folder an extension, below one a Python unless the user named the root."""
    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(root) if root else (Path(cache) if cache else Path.home() / ".cache") / "torch_extensions"


def remove_locks(*, before: float = float("inf"), after: float = float("-inf")) -> None:
    """Remove the build locks of DeepSpeed's extensions that were made in a span of time, in seconds since the epoch."""
    for lock in _folder().rglob("deepspeed*/lock"):
        if after <= lock.stat().st_mtime <= before:
            lock.unlink(missing_ok=True)
