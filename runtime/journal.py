"""The journal of a batch run: append-only JSONL that survives kill -9 and lets the next run go on.

    {"journal": "lora2edge predict", "version": 2, "identity": {…}}     first line: what the results depend on
    {"run": {"inputs": …, "replaces": …}}                               a run began that may replace that CSV
    {"key": …, "scores": [[…]], "tokens": …}                   a question was answered
    {"output": {"inputs": …, "sha256": …, …}}                           the CSV of that hash is about to appear

Every record is one `os.write` on a file opened with O_APPEND, so a killed process leaves at most one torn line, the
last. fsync is for power cuts and comes in batches. The lock is the operating system's and vanishes with the process.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from configs.errors import ConfigError, ToolError

_KIND, _VERSION = "lora2edge predict", 2
_FSYNC_ROWS, _FSYNC_SECONDS = 64, 2.0
_LOCK_OFFSET = 1 << 40  # Windows locks are mandatory: a byte far beyond the end keeps the journal readable


@dataclass(frozen=True, slots=True)
class Result:
    """What was computed for one question."""

    scores: tuple[tuple[float, ...], ...]
    """Log probability of every label, for every order of the options."""
    tokens: int
    """Length of the prompt."""


class Journal:
    """An open, locked journal. Use it as a context manager.

    Args:
        identity: what the results depend on: scoring, formats, model, adapters.
        restart: forget what the journal holds.

    Raises:
        ConfigError: the journal is another model's, or not a journal.
        ToolError: another run holds it.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, restart: bool = False) -> None:
        self.path = path
        self.results: dict[str, Result] = {}
        self.last_run: dict[str, Any] = {}
        """Of the last run that began: `inputs` and `replaces`; empty once its CSV is recorded."""
        self.last_output: dict[str, Any] = {}
        """Of the last CSV written: `inputs`, `sha256` and its counts."""
        self._unsynced = 0
        self._synced_at = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _lock(self._descriptor, path)
            self._load(identity, restart)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind and not self.results and not self.last_output:
            # A run that was refused leaves nothing: a journal without an answer would only stand in the next one's way.
            with contextlib.suppress(OSError):  # Windows keeps an open file
                self.path.unlink()
        self.close()

    def add(self, key: str, result: Result) -> None:
        """Record the answer to one question."""
        self.results[key] = result
        self._write({"key": key, "scores": result.scores, "tokens": result.tokens})

    def begin_run(self, inputs: str, replaces: str) -> None:
        """Record that a run begins, which may replace the CSV whose hash is `replaces`."""
        self.last_run = {"inputs": inputs, "replaces": replaces}
        self._write({"run": self.last_run})

    def end_run(self, output: dict[str, Any]) -> None:
        """Record the CSV that is about to appear; on the disk before it does."""
        self.last_output, self.last_run = output, {}
        self._write({"output": output})
        self._sync()

    def close(self) -> None:
        """Put everything on the disk and let the lock go. Safe to call twice."""
        if self._descriptor >= 0:
            try:
                self._sync()
            finally:
                os.close(self._descriptor)
                self._descriptor = -1

    def _load(self, identity: dict[str, Any], restart: bool) -> None:
        if restart:
            os.ftruncate(self._descriptor, 0)
        lines = self._whole_lines()
        if not lines:
            self._write({"journal": _KIND, "version": _VERSION, "identity": identity})
            return
        self._check_header(_parsed(lines[0]), identity)
        for line in lines[1:]:
            self._take(_parsed(line))

    def _whole_lines(self) -> list[bytes]:
        """The lines of the file; a torn last one is cut off."""
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.ftruncate(self._descriptor, end)
        return data[:end].splitlines()

    def _check_header(self, header: dict[str, Any], identity: dict[str, Any]) -> None:
        if header.get("journal") != _KIND or header.get("version") != _VERSION:
            raise ConfigError(
                f"{self.path} is not a journal of this program", hint="move it away, or --restart replaces it"
            )
        written = header.get("identity")
        if written != identity:
            old = written if isinstance(written, dict) else {}
            differs = [name for name in identity if old.get(name) != identity[name]]
            raise ConfigError(
                f"{self.path} was written with another {' and '.join(differs) or 'setup'}",
                hint="--restart forgets it and computes every row again",
            )

    def _take(self, record: dict[str, Any]) -> None:
        """Remember one record; what cannot be understood was damaged and will be computed again."""
        if isinstance(record.get("run"), dict):
            self.last_run = record["run"]
        elif isinstance(record.get("output"), dict):
            self.last_output, self.last_run = record["output"], {}
        elif isinstance(record.get("key"), str):
            scores, tokens = record.get("scores"), record.get("tokens")
            if isinstance(scores, list) and scores and all(map(_are_numbers, scores)) and isinstance(tokens, int):
                self.results[record["key"]] = Result(tuple(map(tuple, scores)), tokens)

    def _write(self, record: dict[str, Any]) -> None:
        data = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        if os.write(self._descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._unsynced += 1
        if self._unsynced >= _FSYNC_ROWS or time.monotonic() - self._synced_at >= _FSYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        if self._unsynced:
            os.fsync(self._descriptor)
        self._unsynced = 0
        self._synced_at = time.monotonic()


def journal_path(output: Path) -> Path:
    """Where the journal of an output lives."""
    return output.with_name(f"{output.name}.journal.jsonl")


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, float) and math.isfinite(value) for value in values)


def _lock(descriptor: int, path: Path) -> None:
    """Take the file's lock without waiting; file systems without locks do without."""
    try:
        _try_lock(descriptor)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise ToolError(f"another run is writing {path}", hint="wait for it, or choose another --output") from None


def _try_lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        os.lseek(descriptor, _LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
