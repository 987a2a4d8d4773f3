"""Nothing half-written under its final name: write aside, fsync, rename."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from configs.errors import ConfigError


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        fsync_file(partial)
        os.replace(partial, path)
        fsync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that becomes `path` when the block ends well, and vanishes otherwise.

    A folder that stands at `path` is moved aside, and removed only once the new one is in its place.
    """
    path = Path(os.path.abspath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                fsync_file(file)
            else:
                fsync_folder(file)
        fsync_folder(partial)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(partial, path)
        except BaseException:
            if old.exists():
                os.replace(old, path)
            raise
        fsync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        _remove(old)


def _remove_orphans(path: Path) -> None:
    """Remove what killed processes left beside `path`: a killed merge leaves gigabytes that nothing else would."""
    if os.name != "posix":  # elsewhere a process cannot be asked for without harm
        return
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        owner = partial.name.removeprefix(f".{path.name}.").removesuffix(".partial")
        if owner.isdigit() and not _is_alive(int(owner)):
            _remove(partial)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def fsync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(path: Path) -> None:
    """Wait until the folder's entries are on the disk; a system that cannot open folders (Windows) does without."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends, all or nothing."""
    with staged_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write readable JSON, all or nothing."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_text(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, in hex."""
    return sha256_bytes(text.encode("utf-8", "surrogatepass"))


def output_is_done(path: Path, *, recorded: str | None, wanted: str, overwrite: bool, own: Iterable[str] = ()) -> bool:
    """The house rule for an output that exists. An empty folder is no output yet.

    Args:
        path: the output.
        recorded: fingerprint of the inputs that `path` was made from, where it tells.
        wanted: fingerprint of the inputs at hand.
        overwrite: the user asked to replace what is there.
        own: names (patterns) of what the command writes into an output folder. A folder that holds anything else is
            never replaced: what a person put there would be lost.

    Returns:
        True if `path` was made from the same inputs and nothing is to be done.

    Raises:
        ConfigError: something else stands at `path` and may not be replaced.
    """
    if not (path.exists() or path.is_symlink()) or (path.is_dir() and not any(path.iterdir())):
        return False
    if recorded == wanted and not overwrite:
        return True
    stranger = _stranger(path, tuple(own)) if path.is_dir() else None
    if stranger:
        raise ConfigError(
            f"{path} holds {stranger}, which this command did not write", hint="move it away, or name another output"
        )
    if overwrite:
        return False
    why = "was not made from these inputs" if recorded else "does not tell that it was made from these inputs"
    raise ConfigError(f"{path} exists and {why}", hint="--overwrite replaces it")


def _stranger(folder: Path, own: Sequence[str]) -> str | None:
    """The first file in the folder that none of the names stands for."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
    return next((name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in own)), None)
