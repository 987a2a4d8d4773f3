"""Training on many machines: which, how many processes on each, and a sign of life for those that we cannot see.

Every machine must find base, data and output under the same paths (a shared file system), and the same environment;
DeepSpeed starts the processes through pdsh and ssh.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from configs.errors import ConfigError, MachineError

ALIVE_FILE = "alive"
ENVIRONMENT_FILE = "hosts.env"

_LINE = re.compile(r"(\S+)\s+slots=([0-9]{1,4})")
_NAME = re.compile(r"\w[\w.-]*")
"""What DeepSpeed's launcher and pdsh take for one machine: they divide at @, : and commas."""
_BEAT_SECONDS = 5.0
_SILENT_SECONDS = 180.0
"""A shared file system may show a change late."""

Hosts = tuple[tuple[str, tuple[int, ...]], ...]
"""(name, numbers of its devices) of every machine; on machines without GPUs the numbers only count."""


def read_hostfile(path: Path, gpus: str) -> Hosts:
    """The machines of a hostfile: `NAME slots=N` a line, as DeepSpeed has it.

    Args:
        path: the hostfile.
        gpus: `--gpus`: how many devices of every machine, or which; all of its slots if empty.

    Raises:
        ConfigError: no such file, a line that names no machine, a machine twice, a device beyond the slots.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the hostfile {path} cannot be read: {error}") from error
    slots: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.split("#")[0].strip())
        if not found or not int(found[2]):
            raise ConfigError(f"{path}, line {number}: {line.strip()!r} is no machine", hint="write: NAME slots=2")
        if not _NAME.fullmatch(found[1]):
            raise ConfigError(
                f"{path}, line {number}: {found[1]!r} is not the bare name of a machine",
                hint="a user or a port belongs in ~/.ssh/config",
            )
        if found[1] in slots:
            raise ConfigError(f"{path}, line {number}: {found[1]} is named twice")
        slots[found[1]] = int(found[2])
    if not slots:
        raise ConfigError(f"the hostfile {path} names no machine", hint="write: NAME slots=2")
    return tuple((name, _chosen(name, count, gpus)) for name, count in slots.items())


def gpu_numbers(gpus: str) -> list[int]:
    """The numbers in `--gpus`: device numbers where it has a comma, else a count, or none at all.

    Raises:
        ConfigError: there are other words in it, or no number beside the comma.
    """
    try:
        numbers = [int(part) for part in gpus.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if gpus.strip() and not numbers:
        raise ConfigError(f"--gpus {gpus}: expected a count, or device numbers such as 0,2")
    return numbers


def _chosen(name: str, slots: int, gpus: str) -> tuple[int, ...]:
    numbers = gpu_numbers(gpus)
    chosen = tuple(dict.fromkeys(numbers)) if "," in gpus else tuple(range(numbers[0] if numbers else slots))
    if not chosen or min(chosen) < 0 or max(chosen) >= slots:
        raise ConfigError(f"--gpus {gpus}: {name} has {slots} slots in the hostfile")
    return chosen


def check_programs(path: str) -> None:
    """Refuse a start that DeepSpeed could not make.

    Raises:
        MachineError: pdsh or ssh is not on the PATH.
    """
    for program in ("pdsh", "ssh"):
        if not shutil.which(program, path=path):
            raise MachineError(
                f"--hostfile needs {program}, which this machine does not have", hint=f"apt install pdsh, and {program}"
            )


def words(hosts: Hosts, hostfile: Path) -> list[str]:
    """The words for DeepSpeed's launcher."""
    include = "@".join(f"{name}:{','.join(map(str, devices))}" for name, devices in hosts)
    # One machine may be another than this one: without --force_multi the launcher would start it here.
    return ["--hostfile", str(hostfile), "--force_multi", "--include", include]


def write_environment(path: Path, env: Mapping[str, str], names: tuple[str, ...]) -> None:
    """Leave variables where DeepSpeed's launcher reads what to export on every machine."""
    path.write_text("".join(f"{name}={env[name]}\n" for name in names if name in env), encoding="utf-8")


def beat(work: Path) -> None:
    """Show the processes of other machines that the run is still wanted; cheap enough for every poll."""
    path = work / ALIVE_FILE
    if not path.exists() or time.time() - path.stat().st_mtime > _BEAT_SECONDS:
        path.write_text(str(time.time()), encoding="ascii")


def end_without_beat(work: Path, silent_seconds: float = _SILENT_SECONDS) -> None:
    """Leave this process when nobody has beaten for a while: its launcher was killed and could not tell it."""

    def watch() -> None:
        seen, since = "", time.monotonic()
        while time.monotonic() - since < silent_seconds:
            time.sleep(min(1.0, silent_seconds / 4))
            try:
                now = (work / ALIVE_FILE).read_text(encoding="ascii")
            except OSError:
                now = ""
            if now != seen:
                seen, since = now, time.monotonic()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
