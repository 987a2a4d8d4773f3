"""Asks two models, in a thread of its own that only posts messages.

One after the other, never at once: they would take the processor from each other, and no speed would be a model's own.
Where the memory does not hold both, the one that is not asked is not loaded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.message import Message

from configs.errors import ToolError
from tui.compare.differences import differences
from tui.compare.engines import Engines
from tui.compare.messages import (
    Checked,
    CompareFailed,
    LoadedAhead,
    RoundEnded,
    RowsAnswered,
    SheetEnded,
    SheetPaused,
    SideAnswered,
    SideEnded,
    SideFailed,
    SideLoaded,
    SideLoading,
    SideReading,
    SideText,
)
from tui.jobs import JobThread
from tui.messages import ReplyFigures

if TYPE_CHECKING:
    from runtime.chat import Reply
    from runtime.compare import SheetSide
    from runtime.engine import Engine, Sampling
    from runtime.report import AnsweredRow
    from tui.compare.preparing import Prepared
    from tui.settings import Load

logger = logging.getLogger(__name__)

_POST_EVERY_S = 0.05
_POST_ROWS_EVERY_S = 0.25

SIDES = (0, 1)
_NEVER_BEGAN = ReplyFigures(finish="cancelled", tokens=0, seconds=0.0, prompt_tokens=0, prompt_seconds=0.0)


@dataclass(frozen=True, slots=True)
class Question:
    """One question for one model."""

    number: int
    side: int
    text: str
    system: str | None
    sampling: Sampling


class CompareWorker:
    """Prepares, loads and asks, away from the screen's thread.

    Args:
        prepare: checks everything; called first.
        loads: load the two models.
    """

    def __init__(self, prepare: Callable[[], Prepared], loads: tuple[Load, Load]) -> None:
        self._prepare_all = prepare
        self._loads = loads
        self._engines: Engines | None = None
        self._prepared: Prepared | None = None
        self._stop = threading.Event()
        self._stop_reply: Callable[[], None] | None = None
        self._jobs = JobThread("compare-worker", self._free_all)
        self._post: Callable[[Message], object] = lambda message: None

    def start(self, post: Callable[[Message], object]) -> None:
        """Begin with checking the files."""
        self._post = post
        self._jobs.put(self._prepare)
        self._jobs.start()

    def ask(self, number: int, text: str, system: str | None, sampling: Sampling) -> None:
        """Let both models reply; `RoundEnded` follows."""
        self._stop.clear()
        self._jobs.put(lambda: self._ask(number, text, system, sampling))

    def answer_sheet(self) -> None:
        """Let both models answer what they have not answered yet; `SheetEnded` or `SheetPaused` follows."""
        self._stop.clear()
        self._jobs.put(self._answer_sheet)

    def stop(self) -> None:
        """End the reply and the load that are going on, and those that would follow."""
        self._stop.set()
        if (stop := self._stop_reply) is not None:
            stop()

    def close(self, timeout_s: float) -> bool:
        """End everything and free the models; say whether the thread was gone within the time."""
        self.stop()
        return self._jobs.close(timeout_s)

    # Loading

    def _prepare(self) -> None:
        try:
            self._prepared = self._prepare_all()
        except Exception as error:  # noqa: BLE001  the edge of the thread: the app reports it
            self._post(CompareFailed(error))
        else:
            self._engines = Engines(self._loads, together=self._prepared.together)
            self._post(Checked(self._prepared))
            if self._prepared.sides is None:
                self._load_ahead(self._engines, together=self._prepared.together)

    def _load_ahead(self, engines: Engines, *, together: bool) -> None:
        """Load what will be asked first, while the person writes."""
        try:
            for side in SIDES if together else SIDES[:1]:
                self._engine(engines, side)
        except Exception as error:  # noqa: BLE001  the edge of the thread: the app reports it
            self._post(LoadedAhead() if self._stop.is_set() else CompareFailed(error))
        else:
            self._post(LoadedAhead())

    def _engine(self, engines: Engines, side: int) -> Engine:
        """The loaded model.

        Raises:
            ToolError: it cannot be loaded, or the load was given up.
        """
        if engines.loaded(side):
            return engines.get(side, lambda fraction: True)
        self._post(SideLoading(side, 0.0))
        engine = engines.get(side, lambda fraction: self._report_load(side, fraction))
        self._post(SideLoaded(side, engine.notes))
        return engine

    def _report_load(self, side: int, fraction: float) -> bool:
        self._post(SideLoading(side, fraction))
        return not self._stop.is_set()

    def _free_all(self) -> None:
        if self._engines is not None:
            self._engines.close()

    # Texts

    def _ask(self, number: int, text: str, system: str | None, sampling: Sampling) -> None:
        if (engines := self._engines) is None:
            return
        said = ["", ""]
        for side in sorted(SIDES, key=lambda side: not engines.loaded(side)):
            try:
                said[side] = self._reply(engines, Question(number, side, text, system, sampling))
            except ToolError as error:
                self._tell_failure(number, side, str(error))
            except Exception as error:  # the edge of the thread: the other model is still to be asked
                logger.exception("the reply failed")
                self._tell_failure(number, side, f"unexpected {type(error).__name__}: {error}")
        both = all(text.strip() for text in said)
        self._post(RoundEnded(number, differences(said[0].strip(), said[1].strip()) if both else None))

    def _tell_failure(self, number: int, side: int, sentence: str) -> None:
        if self._stop.is_set():
            self._post(SideEnded(number, side, _NEVER_BEGAN))
        else:
            self._post(SideFailed(number, side, sentence))

    def _reply(self, engines: Engines, question: Question) -> str:
        from runtime.chat import ChatSession

        number, side = question.number, question.side
        if self._stop.is_set():
            self._post(SideEnded(number, side, _NEVER_BEGAN))
            return ""
        engine = self._engine(engines, side)
        self._post(SideReading(number, side))
        reply = ChatSession(engine, system=question.system, sampling=question.sampling).ask(question.text)
        self._stop_reply = reply.stop
        if self._stop.is_set():
            reply.stop()
        try:
            self._stream(number, side, reply)
        finally:
            self._stop_reply = None
        self._post(SideEnded(number, side, figures_of(reply)))
        return reply.text

    def _stream(self, number: int, side: int, reply: Reply) -> None:
        held: list[str] = []
        posted_at = 0.0
        try:
            for piece in reply:
                held.append(piece)
                if time.monotonic() - posted_at >= _POST_EVERY_S:
                    self._post(SideText(number, side, "".join(held)))
                    held.clear()
                    posted_at = time.monotonic()
        finally:
            if held:
                self._post(SideText(number, side, "".join(held)))

    # Sheets

    def _answer_sheet(self) -> None:
        prepared, engines = self._prepared, self._engines
        if prepared is None or engines is None or prepared.sides is None:
            return
        try:
            for side, sheet in zip(SIDES, prepared.sides, strict=True):
                if not self._answer_side(engines, side, sheet):
                    self._post(SheetPaused())
                    return
                # The other model gets all the memory: an answered sheet needs no engine any more.
                engines.free(side)
        except Exception as error:  # noqa: BLE001  the edge of the thread: the app reports it
            if self._stop.is_set():
                self._post(SheetPaused())
            elif any(sheet.results for sheet in prepared.sides):
                self._post(SheetPaused(str(error)))  # what was answered can still be looked at
            else:
                self._post(CompareFailed(error))
        else:
            self._post(SheetEnded())

    def _answer_side(self, engines: Engines, side: int, sheet: SheetSide) -> bool:
        """Score what is missing; False if the person stopped it."""
        held: dict[int, AnsweredRow] = {}
        posted_at = time.monotonic()
        if len(sheet.results) < sheet.total:
            for rows in sheet.score(self._engine(engines, side)):
                held |= rows
                if time.monotonic() - posted_at >= _POST_ROWS_EVERY_S or self._stop.is_set():
                    self._post_rows(side, held, sheet)
                    held, posted_at = {}, time.monotonic()
                if self._stop.is_set():
                    return False
        self._post_rows(side, held, sheet)
        self._post(SideAnswered(side, sheet.answers()))
        return True

    def _post_rows(self, side: int, rows: dict[int, AnsweredRow], sheet: SheetSide) -> None:
        done, total = len(sheet.results), sheet.total
        self._post(RowsAnswered(side, rows, done, total, sheet.questions_per_second))


def seeded(sampling: Sampling, draw: Callable[[], int]) -> Sampling:
    """The sampling with a seed, for both models the same: the one that was given, else a drawn one."""
    return sampling if sampling.seed is not None else replace(sampling, seed=draw())


def figures_of(reply: Reply) -> ReplyFigures:
    """How a reply ended, and how quickly it came."""
    return ReplyFigures(
        finish=reply.finish,
        tokens=reply.tokens,
        seconds=reply.seconds,
        prompt_tokens=reply.prompt_tokens,
        prompt_seconds=reply.prompt_seconds,
    )
