"""The journal of a batch run: append-only JSONL that survives kill -9 and lets the next run go on.

    {"journal": "lora2edge predict", "version": 3, "identity": {…}, "setup": {…}}   first line: what results depend on
    {"run": {"inputs": …, "replaces": …}}                                    a run began that may replace that output
    {"key": …, "scores": [[…]], "tokens": …}                                 a row was computed; `Records` says how
    {"key": …, "error": …}                                                   a row cannot be, for this reason
    {"output": {"inputs": …, "sha256": …, …}}                                the output of that hash is about to appear

Every record is one `os.write` on a file opened with O_APPEND, so a killed process leaves at most one torn line, the
last. Nothing needs fsync against a killed process; against a power cut it comes every 64 records or 2 seconds, before
the output appears, and at the end. The lock is the operating system's and vanishes with the process.

The first line is written with the first result: a run that is refused, or whose model does not load, leaves no journal
behind, and takes none away that `restart` was to forget.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from configs.errors import ConfigError
from runtime.file_lock import LockedFile

_FSYNC_RECORDS, _FSYNC_SECONDS = 64, 2.0

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Records(Generic[R]):
    """The kind of journal, and how one result of it becomes a record."""

    name: str
    version: int
    write: Callable[[R], dict[str, Any]]
    read: Callable[[dict[str, Any]], R | None]
    """None for a record that was damaged: its row is computed again."""


@dataclass(slots=True)
class Contents(Generic[R]):
    """What a journal holds."""

    header: dict[str, Any] = field(default_factory=dict)
    results: dict[str, R] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """Key -> why the row cannot be computed; the next run tries again."""
    last_run: dict[str, Any] = field(default_factory=dict)
    """Of the last run that began: `inputs` and `replaces`."""
    last_output: dict[str, Any] = field(default_factory=dict)
    """Of the last output: `inputs`, `sha256` and its counts."""

    def take(self, record: dict[str, Any], records: Records[R]) -> None:
        """Remember one record; what cannot be understood is passed over."""
        if isinstance(record.get("run"), dict):
            self.last_run = record["run"]
        elif isinstance(record.get("output"), dict):
            self.last_output = record["output"]
        elif isinstance(key := record.get("key"), str):
            if isinstance(record.get("error"), str):
                self.errors[key] = record["error"]
            elif (result := records.read(record)) is not None:
                self.results[key] = result
                self.errors.pop(key, None)


class Journal(Generic[R]):
    """An open, locked journal. Use it as a context manager.

    Args:
        identity: what the results depend on: scoring, formats, model, adapters.
        records: what kind of journal it is.
        setup: what else a reader of the file wants to know; not compared.
        restart: forget what the journal holds, as soon as there is a result to write instead.

    Raises:
        ConfigError: the journal is another model's, or not a journal.
        ToolError: another run holds it.
    """

    def __init__(
        self,
        path: Path,
        identity: dict[str, Any],
        records: Records[R],
        *,
        setup: dict[str, Any] | None = None,
        restart: bool = False,
    ) -> None:
        self.path = path
        self._records = records
        self._held: Contents[R] = Contents()
        self._waiting: list[dict[str, Any]] = []
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self._file = LockedFile(path)
        try:
            data = self._file.read()
            end = data.rfind(b"\n") + 1
            self._forget = restart or not end
            if self._forget:
                header = {"journal": records.name, "version": records.version, "identity": identity}
                self._waiting.append({**header, "setup": setup or {}})
            else:
                if end < len(data):  # a torn last line
                    self._file.truncate(end)
                self._held = _contents(data[:end], records, path)
                _check_identity(self._held, identity, path)
        except BaseException:
            self._file.close()
            raise

    @property
    def results(self) -> dict[str, R]:
        """Key -> result of every row that was computed."""
        return self._held.results

    @property
    def errors(self) -> dict[str, str]:
        """Key -> reason of every row that could not be computed."""
        return self._held.errors

    @property
    def last_run(self) -> dict[str, Any]:
        """Of the last run that began: `inputs` and `replaces`; empty for none."""
        return self._held.last_run

    @property
    def last_output(self) -> dict[str, Any]:
        """Of the last output: `inputs`, `sha256` and its counts; empty for none."""
        return self._held.last_output

    def __enter__(self) -> Journal[R]:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, key: str, result: R) -> None:
        """Record what was computed for one row."""
        self._write({"key": key, **self._records.write(result)})
        self.results[key] = result
        self.errors.pop(key, None)

    def refuse(self, key: str, reason: str) -> None:
        """Record why one row cannot be computed, unless the journal says so already."""
        if self.errors.get(key) != reason:
            self._write({"key": key, "error": reason})
            self.errors[key] = reason

    def begin_run(self, inputs: str, replaces: str) -> None:
        """Record, with the first result, that a run began which may replace the output whose hash is `replaces`."""
        self._held.last_run = {"inputs": inputs, "replaces": replaces}
        self._waiting.append({"run": self._held.last_run})

    def end_run(self, output: dict[str, Any]) -> None:
        """Record the output that is about to appear; on the disk before it does."""
        self._write({"output": output})
        self._held.last_output = output
        self._sync()

    def close(self) -> None:
        """Put everything on the disk and let the lock go. Safe to call twice."""
        if self._file.descriptor < 0:
            return
        try:
            self._sync()
            if not self._file.size:  # a run that was refused leaves nothing
                with contextlib.suppress(OSError):  # Windows keeps an open file
                    self.path.unlink()
        finally:
            self._file.close()

    def _write(self, record: dict[str, Any]) -> None:
        waiting, self._waiting = [*self._waiting, record], []
        if self._forget:
            self._file.truncate(0)
            self._forget = False
        self._file.append(b"".join(map(_line, waiting)))
        self._unsynced += 1
        if self._unsynced >= _FSYNC_RECORDS or time.monotonic() - self._synced_at >= _FSYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        if self._unsynced:
            self._file.sync()
        self._unsynced = 0
        self._synced_at = time.monotonic()


def journal_path(output: Path) -> Path:
    """Where the journal of an output lives."""
    return output.with_name(f"{output.name}.journal.jsonl")


def read_journal(path: Path, records: Records[R]) -> Contents[R]:
    """Read a journal that somebody else may be writing.

    Raises:
        ConfigError: there is none, or it is not a journal.
    """
    if not path.is_file():
        raise ConfigError(f"there is no journal {path}")
    data = path.read_bytes()
    return _contents(data[: data.rfind(b"\n") + 1], records, path)


def peek(path: Path, identity: dict[str, Any], records: Records[R]) -> dict[str, R]:
    """Key -> result of what a run with this identity would find in a journal; somebody else may be writing it.

    Raises:
        ConfigError: it is another model's, or not a journal.
    """
    data = path.read_bytes() if path.is_file() else b""
    end = data.rfind(b"\n") + 1
    if not end:  # a run that has just begun
        return {}
    held = _contents(data[:end], records, path)
    _check_identity(held, identity, path)
    return held.results


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The parts in which two identities differ, for a sentence."""
    return [name for name in {**old, **new} if old.get(name) != new.get(name)] or ["setup"]


def _check_identity(held: Contents[Any], identity: dict[str, Any], path: Path) -> None:
    written = held.header["identity"]
    if written != identity:
        differs = differences(written, identity)
        raise ConfigError(
            f"{path} belongs to a run with other {' and '.join(differs)}",
            hint="--restart forgets it and computes every row again",
        )


def _contents(data: bytes, records: Records[R], path: Path) -> Contents[R]:
    lines = data.splitlines()
    header = _parsed(lines[0]) if lines else {}
    named = header.get("journal") == records.name and header.get("version") == records.version
    if not named or not isinstance(header.get("identity"), dict):
        raise ConfigError(
            f"{path} is not a journal of this program, or of another version of it",
            hint="move it away, or --restart replaces it",
        )
    held: Contents[R] = Contents(header)
    for line in lines[1:]:
        held.take(_parsed(line), records)
    return held


def _line(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
