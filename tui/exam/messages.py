"""What the worker thread tells the exam room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from runtime.report import AnsweredRow
    from runtime.rows import Summary


@dataclass
class SheetOpened(Message):
    """A sheet was read; nothing has been computed yet."""

    sheet: Path
    columns: Mapping[str, str]
    """Role -> column."""
    labels: tuple[str, ...]
    rows: Sequence[AnsweredRow]
    """With what the journal holds."""
    notes: tuple[str, ...]
    trouble: str
    """Why a run would be refused as things stand; empty if it would not."""
    changed: bool = False
    """The sheet was to be answered, and is another one since it was opened."""


@dataclass
class SheetRefused(Message):
    """A sheet cannot be read."""

    sheet: Path
    sentence: str


@dataclass
class ModelRefused(Message):
    """The model's file is not one that can answer: there is nothing to stay for."""

    error: Exception


@dataclass
class RunBegan(Message):
    """The model is loaded."""

    done: int
    """Of different questions; rows may repeat one."""
    total: int
    notes: tuple[str, ...]


@dataclass
class RunPaused(Message):
    """Nothing is computed until it is resumed."""


@dataclass
class RunResumed(Message):
    """Questions are answered again."""


@dataclass
class RunEnded(Message):
    """The CSV is there."""

    summary: Summary
    rows: Sequence[AnsweredRow]
    notes: tuple[str, ...]


@dataclass
class RunStopped(Message):
    """Loading was given up, or the run was ended before its end; the journal keeps what was done."""


@dataclass
class RunFailed(Message):
    """The run was refused, or ended with an error; the journal keeps what was done."""

    sentence: str


@dataclass
class Exported(Message):
    """A CSV was written."""

    path: Path
    rows: int
    answered: int
    """Of these rows."""


@dataclass
class ExportFailed(Message):
    """It was not."""

    sentence: str
