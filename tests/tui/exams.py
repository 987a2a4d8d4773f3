"""The exam room on a scripted engine: for pilot tests, for tests on a real terminal, for pictures.

`python -m tests.tui.exams SHEET --model M.gguf` opens it by hand; none of this is part of the product.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static

from configs import errors
from configs.errors import ToolError
from configs.exam import Question
from configs.formats import Formats
from runtime.arguments import add_answer_flags, add_model_flags
from runtime.batch import PredictRun
from runtime.engine import ModelOptions
from runtime.interface import ScoreRequest
from runtime.scripted import ScriptedEngine
from tests.tui.driving import text_of, until
from tui.chats.preferences import StoredPreferences
from tui.exam.settings import ExamSettings, exam_settings
from tui.exam.worker import ExamWorker
from tui.exam_app import ExamApp
from tui.launch import predict_on_screen
from tui.screens.exam_room import State
from tui.widgets.question_table import QuestionTable

FORMATS = Formats.load("alpaca2", "formosa")


class Examinee(ScriptedEngine):
    """Knows the key of most questions, and can be held after any number of them.

    Args:
        questions: with their keys; one in five is answered as the hash says.
        rows_per_second: 0 answers without delay.
    """

    def __init__(
        self,
        questions: Sequence[Question] = (),
        *,
        rows_per_second: float = 0,
        load_seconds: float = 0,
        context_size: int = 4096,
    ) -> None:
        super().__init__(formats=FORMATS, load_seconds=load_seconds, context_size=context_size)
        self._keys = {(question.passage, question.question): question.answer for question in questions}
        self._row_seconds = 1 / rows_per_second if rows_per_second else 0.0
        self.loads = 0
        self.answered = 0
        self.hold_at = -1
        """Of the questions answered: the next waits until `go` is set."""
        self.go = threading.Event()

    def load(self, options: ModelOptions, **callbacks: Any) -> ScriptedEngine:
        self.loads += 1
        return super().load(options, **callbacks)

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        if self.answered == self.hold_at:
            self.go.wait(60)
        self.answered += 1
        time.sleep(self._row_seconds)
        return [self._graded(request) for request in requests]

    def _graded(self, request: ScoreRequest) -> list[float]:
        text = text_of(tuple(request.prompt))
        luck = hashlib.sha256(text.encode()).digest()
        key = next((key for asked, key in self._keys.items() if all(part in text for part in asked)), None)
        if key is None or luck[0] < 51:
            return super().score([request])[0]
        weights = [1 + luck[place] / 64 + (20 + luck[9] / 8) * (place + 1 == key) for place in range(4)]
        labels = [math.log(0.97 * weight / sum(weights)) for weight in weights]
        count = max(request.labels or range(len(request.continuations))) + 1
        return [*labels, *[-20.0] * count][:count]


class Broken(ScriptedEngine):
    """Fails to load."""

    def load(self, *_: Any, **__: Any) -> ScriptedEngine:
        raise ToolError("no memory for this model", hint="choose a smaller one")


def write_sheet(path: Path, questions: Sequence[Question], *, answers: bool = True, ids: Sequence[str] = ()) -> Path:
    """A csv as Excel writes it: quicker than a workbook, and any text can stand in it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    options = [f"選項{place}" for place in range(1, 5)]
    writer.writerow(["ID", "文章", "問題", *options, *(["正確答案"] if answers else [])])
    for number, row in enumerate(questions, 1):
        cells = [ids[number - 1] if ids else f"{10_000 + number}", row.passage, row.question, *row.choices]
        writer.writerow([*cells, row.answer or ""] if answers else cells)
    path.write_text(text.getvalue(), encoding="utf-8-sig", newline="")
    return path


@asynccontextmanager
async def exam(
    settings: ExamSettings, engine: ScriptedEngine, *, size: tuple[int, int] = (120, 40), opened: bool = True
) -> AsyncIterator[tuple[Any, Pilot[Any]]]:
    """Open the room; by default wait for its sheet."""
    worker = ExamWorker(engine.load)
    preferences = StoredPreferences(settings.data_folder)
    app = ExamApp(worker, settings, preferences)
    try:
        async with app.run_test(size=size) as pilot:
            if opened:
                await until(pilot, lambda: app.screen.state not in (State.EMPTY, State.OPENING))  # type: ignore[attr-defined]
            yield app, pilot
    finally:
        worker.close(10)
        preferences.close()


async def reach(pilot: Pilot[Any], state: State) -> None:
    """Wait for a state of the room."""
    await until(pilot, lambda: room(pilot.app).state is state)


def room(app: Any) -> Any:
    """The room's screen, whatever card lies on it."""
    return app.screen_stack[0] if len(app.screen_stack) == 1 else app.screen_stack[-2]


def table(app: Any) -> QuestionTable:
    """The table of questions."""
    return room(app).query_one(QuestionTable)  # type: ignore[no-any-return]


def lines_of(app: Any) -> list[str]:
    """What the table shows, line by line."""
    found = table(app)
    return [found.render_line(y).text.rstrip() for y in range(found.size.height)]


def plain(settings: ExamSettings, engine: ScriptedEngine, output: Path) -> bytes:
    """What `runtime predict` writes."""
    assert settings.sheet is not None
    run = PredictRun(replace(settings.run_of(settings.sheet, settings.sheet_columns), output=output), engine.load)
    list(run)
    return output.read_bytes()


def details(app: Any) -> str:
    """What there is to say of the sheet and its run."""
    card = room(app).query_one("#exam-details", Static)
    return str(card.content) if card.display else ""


async def sit(pilot: Any) -> None:
    """Answer to the end."""
    await pilot.press("space")
    await reach(pilot, State.DONE)


def main(argv: Sequence[str] | None = None) -> int:
    """Open the room the way the product does."""
    parser = argparse.ArgumentParser(prog="exams")
    parser.add_argument("sheet", type=Path, nargs="?")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rows-per-second", type=float, default=0)
    parser.add_argument("--load-seconds", type=float, default=0)
    parser.add_argument("--lang", default="en")
    parser.add_argument("--data-dir", type=Path)
    add_answer_flags(parser)
    add_model_flags(parser)
    errors.common_flags(parser)
    parser.set_defaults(handler=_exam)
    return errors.run(parser, argv)


def _exam(args: argparse.Namespace) -> int:
    engine = Examinee(rows_per_second=args.rows_per_second, load_seconds=args.load_seconds)
    return predict_on_screen(exam_settings(args), engine.load)


if __name__ == "__main__":
    sys.exit(main())
