"""What an export asks of the machine: cores, room on the disk, and a place that is none of its inputs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from configs.errors import ConfigError, MachineError
from exporter.sizes import size_text


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_place(output: Path, inputs: Sequence[Path]) -> None:
    """Refuse to write into an input folder, or to replace a folder that holds one."""
    place = output.resolve()
    for folder in (folder.resolve() for folder in inputs):
        if place.is_relative_to(folder) or folder.is_relative_to(place):
            raise ConfigError(f"--output {output} would write into the input folder {folder}")


def free_bytes(output: Path) -> int:
    """Free bytes on the disk that will hold `output`."""
    folder = output.resolve().parent
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_disk(output: Path, needed: int) -> None:
    """Refuse an export that cannot fit.

    Raises:
        MachineError: the disk has fewer bytes free than the output will have.
    """
    free = free_bytes(output)
    if needed > free:
        raise MachineError(f"{output} needs {size_text(needed)}, the disk has {size_text(free)} free")
