"""The C++ extensions that DeepSpeed builds: one at its first start on a CPU, which takes about a minute, and its CPU
Adam if that is asked for, which takes several.

torch guards a build by a file. A build that is killed leaves it behind, and every later start polls for its end
for ever; removing it while its owner lives fails the owner. Here a lock dies with its process, and the builds have a
folder of their own, so that nobody with torch's kind of lock is in it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from configs.errors import MachineError

FOLDER_VARIABLE = "TORCH_EXTENSIONS_DIR"
SHARED_MEMORY, CPU_ADAM = "deepspeed_shm_comm", "cpu_adam"
"""What may be built, by the names that DeepSpeed gives them."""


def scripts_path(path: str, scripts: str) -> str:
    """PATH with the environment's scripts in front: `ninja` is there, activated or not."""
    return scripts + os.pathsep + path if path else scripts


def folder() -> Path:
    """Where the extensions of this environment are: what is compiled refers to its headers and to its torch."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built_for = f"{sys.prefix} {sys.version} {_version('torch')} {_version('deepspeed')}"
    return cache / "lora2edge" / "extensions" / hashlib.sha256(built_for.encode()).hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def is_built(name: str) -> bool:
    """Whether an extension is there already."""
    return any(folder().rglob(f"{name}/*.so"))


def check_compiler(path: str) -> None:
    """Refuse a start that would have to build an extension and cannot.

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


def use_locks_that_die_with_their_process() -> None:
    """Have torch guard its builds in this process by `BuildLock`."""
    from torch.utils import cpp_extension

    cpp_extension.FileBaton = BuildLock


class BuildLock:
    """torch's FileBaton on a lock of the operating system: who comes second waits, and then finds everything built."""

    def __init__(self, lock_file_path: str, *_args: Any, **_kwargs: Any) -> None:
        # Not torch's own file: in a folder that is shared with other programs it would hold them up.
        self._path = Path(lock_file_path + ".held")
        self._file: IO[bytes] | None = None

    def try_acquire(self) -> bool:
        """Wait for the lock, and hold it. Always True: ninja then sees whether there is anything left to build."""
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let the next one in."""
        if self._file:
            self._file.close()
