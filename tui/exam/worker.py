"""The thread that drives the batch run: the very one of `runtime predict`, with its journal and its lock.

It is a daemon thread of its own, as the chat's: one long call into llama.cpp must not hold the person at Ctrl+Q.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from textual.message import Message

from configs.errors import ToolError, describe
from tui.exam.messages import (
    Exported,
    ExportFailed,
    ModelRefused,
    RunBegan,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStopped,
    SheetOpened,
    SheetRefused,
)
from tui.messages import LoadProgress

if TYPE_CHECKING:
    from configs.progress import Progress
    from runtime.batch import PredictRun, PredictSettings
    from runtime.engine import Engine, ModelOptions
    from runtime.report import AnsweredRow, Columns

logger = logging.getLogger(__name__)

Post = Callable[[Message], object]
Job = Callable[[], None]
Settings = Callable[[], "PredictSettings"]
"""Makes the settings in the worker's thread: what they are made of takes long to import."""


class LoadEngine(Protocol):
    """What `runtime.engine.load_engine` looks like."""

    def __call__(self, options: ModelOptions, *, on_progress: Callable[[float], bool] | None = None) -> Engine: ...


class ExamWorker:
    """Opens sheets and runs them, away from the screen's thread.

    Methods return at once. Outcomes arrive as messages through `post`; what becomes of rows gathers in `news`, for the
    screen to take when it draws: a message for every row would keep it busy with nothing else.
    """

    def __init__(self, load: LoadEngine) -> None:
        self.done = self.total = 0
        """Different questions of the run that goes on."""
        self.measured = 0.0
        """0..1 of the questions, before the first is answered."""
        self.news: deque[tuple[int, AnsweredRow]] = deque()
        self._load_engine = load
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="exam-worker", daemon=True)
        self._stop = threading.Event()
        self._go = threading.Event()
        self._run: PredictRun | None = None
        self._used = False
        self._seen: set[str] = set()
        self._post: Post = lambda message: None

    def start(self, post: Post) -> None:
        """Begin to take orders."""
        self._post = post
        self._thread.start()

    def open(self, sheet: Path, settings: Settings) -> None:
        """Read a sheet, and look into its journal; `SheetOpened` or `SheetRefused` follows."""
        self._jobs.put(lambda: self._open(sheet, settings))

    def begin(self) -> None:
        """Answer the questions of the sheet that is open, or go on with them."""
        self._stop.clear()
        self._go.set()
        self._jobs.put(self._answer)

    def pause(self) -> None:
        """Hold still after the present question; `RunPaused` follows."""
        self._go.clear()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def stop(self) -> None:
        """End the run after the present question, or give its loading up; `RunStopped` follows."""
        self._stop.set()
        self._go.set()

    def export(self, path: Path, columns: Columns, rows: Sequence[AnsweredRow]) -> None:
        """Write rows as a CSV, in a thread of its own; `Exported` or `ExportFailed` follows."""
        run = self._run
        if run is not None:
            threading.Thread(target=self._export, args=(run, path, columns, rows), daemon=True).start()

    def close(self, timeout_s: float) -> bool:
        """End everything; say whether the thread was gone within the time."""
        self.stop()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    # Sheets

    def _open(self, sheet: Path, settings: Settings) -> None:
        from runtime.batch import PredictRun

        self._run = None
        try:
            run = PredictRun(settings(), self._load)
            try:
                run.check_model()
            except ToolError as error:
                self._post(ModelRefused(error))
                return
            run.prepare()
        except Exception as error:  # noqa: BLE001  the edge of the thread: the person chooses another sheet
            self._post(SheetRefused(sheet, _sentence(error)))
        else:
            self._show(run)

    def _show(self, run: PredictRun, *, changed: bool = False) -> None:
        """Let the person look at a run that has not begun."""
        trouble = ""
        try:
            run.peek()
        except (ToolError, OSError) as error:
            trouble = _sentence(error)
        self._run, self._used = run, False
        paper, notes = run.prepare(), tuple(run.notes)
        labels = paper.labels.labels
        self._post(SheetOpened(run.settings.sheet, paper.sheet.columns, labels, run.rows(), notes, trouble, changed))

    # Runs

    def _answer(self) -> None:
        from runtime.batch import PredictRun

        run = self._run
        if run is None:
            return
        try:
            if self._used:
                before = run.prepare().sheet.sha256
                run = self._run = PredictRun(run.settings, self._load)
                if run.prepare().sheet.sha256 != before:  # its rows are not those that are shown
                    self._show(run, changed=True)
                    return
            self._used = True
            run.on_measure = self._report_measure
            events = iter(run)
            try:
                self._drive(run, events)
            finally:
                events.close()
        except Exception as error:  # the edge of the thread: the room stays open
            if self._stop.is_set():
                self._post(RunStopped())
                return
            if not isinstance(error, (ToolError, OSError)):
                logger.exception("the run failed")
            self._post(RunFailed(_sentence(error)))
            return
        if run.summary is None:
            self._post(RunStopped())
        else:
            self._forget_restart(run)
            self._post(RunEnded(run.summary, run.rows(), tuple(run.notes)))

    def _drive(self, run: PredictRun, events: Generator[Progress, None, None]) -> None:
        """Run until the end, or until the person stops."""
        self._seen = set()
        self.measured = 0.0
        for number, event in enumerate(events):
            self.done, self.total = event.done, event.total
            if number == 0:
                self._post(RunBegan(event.done, event.total, tuple(run.notes)))
            else:
                self._tell(run, event)
            if not self._heed():
                return

    def _heed(self) -> bool:
        """Hold still while the person wants it; say whether to go on."""
        if not self._go.is_set():
            self._post(RunPaused())
            self._go.wait()
            if not self._stop.is_set():
                self._post(RunResumed())
        return not self._stop.is_set()

    def _tell(self, run: PredictRun, event: Progress) -> None:
        from runtime.batch import Scored

        if isinstance(event, Scored):
            self._forget_restart(run)
            self.news.extend(run.rows_of(event.key).items())
        for key in run.refused.keys() - self._seen:
            self._seen.add(key)
            self.news.extend(run.rows_of(key).items())

    def _forget_restart(self, run: PredictRun) -> None:
        """What `--restart` asked for is done: whoever stops and starts again goes on."""
        if run.settings.restart:
            run.settings = replace(run.settings, restart=False)

    def _load(self, options: ModelOptions) -> Engine:
        return self._load_engine(options, on_progress=self._report_load)

    def _report_load(self, fraction: float) -> bool:
        self._post(LoadProgress(fraction))
        return not self._stop.is_set()

    def _report_measure(self, fraction: float) -> bool:
        self.measured = fraction
        return self._heed()

    # Exports

    def _export(self, run: PredictRun, path: Path, columns: Columns, rows: Sequence[AnsweredRow]) -> None:
        from tui.exam.export import write_csv

        try:
            write_csv(path, rows, columns, run.prepare().labels, run.settings)
        except Exception as error:  # noqa: BLE001  the edge of the thread
            self._post(ExportFailed(_sentence(error)))
        else:
            self._post(Exported(path, len(rows), sum(row.answer is not None for row in rows)))


def _sentence(error: Exception) -> str:
    return describe(error)[0].removeprefix("error: ")
