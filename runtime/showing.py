"""A batch run as a person watches it: bars and sentences on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from runtime.narration import say

if TYPE_CHECKING:
    from configs.progress import Progress
    from runtime.interface import Engine, ModelOptions


class Run(Protocol):
    """What can be watched: it yields progress, and `notes` grows meanwhile."""

    notes: list[str]

    def __iter__(self) -> Iterator[Progress]: ...


def load_with_bar(options: ModelOptions) -> Engine:
    """`load_engine` with a bar while the weights load."""
    from configs.progress import Progress, Shower
    from runtime.engine import load_engine

    bar = Shower(f"loading {options.model.name}")

    def show(share: float) -> bool:
        if sys.stderr.isatty():
            bar.show(Progress(round(100 * share), 100, "%"))
        return True

    engine = load_engine(options, on_progress=show)
    bar.finish()
    return engine


def run_and_show(run: Run, title: str) -> None:
    """Run to the end, showing progress and telling each note once."""
    from configs.progress import Shower

    bar = Shower(title)
    told = 0
    for event in run:
        told = _tell(run.notes, told)
        bar.show(event)
    bar.finish()
    _tell(run.notes, told)


def log_to_stderr(*, debug: bool) -> None:
    """Warnings of the libraries, and everything with --debug."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(name)s: %(message)s")


def _tell(notes: list[str], told: int) -> int:
    for note in notes[told:]:
        say(note)
    return len(notes)
