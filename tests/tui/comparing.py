"""A comparison on two scripted engines: for pilot tests, for tests on a real terminal, for pictures.

`python -m tests.tui.comparing --help` opens it by hand; none of this is part of the product.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from configs import errors
from configs.exam import QuestionFormat
from configs.formats import Formats
from configs.prompt import PromptFormat
from configs.sheets import SheetRow
from runtime.compare import SheetSide
from runtime.engine import Engine, ModelOptions, Sampling
from runtime.scripted import ScriptedEngine
from tests.tiny import questions
from tui.chats.folder import data_folder
from tui.chats.preferences import StoredPreferences
from tui.compare.preparing import Prepared
from tui.compare.settings import CompareSettings
from tui.compare.worker import CompareWorker
from tui.compare_app import CompareApp
from tui.compare_launch import compare_with
from tui.house import Preferences
from tui.settings import Load

LABELS = ("formosa-7b-f16", "formosa-7b-q4_0")
FORMATS = Formats(prompt=PromptFormat.load("alpaca2"), question=QuestionFormat.load("formosa"))


class Examinee(ScriptedEngine):
    """Knows the key, and gets every so manieth question wrong.

    Args:
        wrong: which questions, counted from 0, it gets wrong.
    """

    def __init__(self, rows: Sequence[SheetRow], wrong: Callable[[int], bool], **options: Any) -> None:
        super().__init__(formats=FORMATS, context_size=8192, **options)
        self._wrong = wrong
        self._asked = {FORMATS.question.text(row.question): at for at, row in enumerate(rows) if row.question}
        self._gold = [row.question.answer if row.question else None for row in rows]
        self.scored = 0

    def score(self, requests: Sequence[Any]) -> list[list[float]]:
        import math
        import time

        found = []
        for request in requests:
            time.sleep(self.token_seconds)
            text = "".join(chr(token) for token in request.prompt if token < 0x110000)
            at = next(at for asked, at in self._asked.items() if asked in text)
            count = max(request.labels) + 1 if request.labels else len(request.continuations)
            right = ((self._gold[at] or 1) - 1 + self._wrong(at)) % count
            sure = 0.55 + 0.4 * ((at * 7) % 10) / 10
            shares = [sure if place == right else (1 - sure) / (count - 1) for place in range(count)]
            found.append([math.log(share) for share in shares])
            self.scored += 1
        return found


def sheet_rows(count: int) -> list[SheetRow]:
    """A small exam with a key."""
    return [SheetRow(number, str(number), question) for number, question in enumerate(questions(count), 1)]


def prepared(*, rows: Sequence[SheetRow] = (), together: bool = True, notes: tuple[str, ...] = ()) -> Prepared:
    """What checking the files would have found."""
    if not rows:
        return Prepared(notes, together)
    sides = tuple(SheetSide(rows, FORMATS, FORMATS.question) for _ in range(2))
    return Prepared(notes, together, tuple(rows), sides)  # type: ignore[arg-type]


def loads(engines: Sequence[ScriptedEngine]) -> tuple[Load, Load]:
    """Stand in for the loading of two GGUF files."""

    def load(engine: ScriptedEngine) -> Load:
        def load_it(on_progress: Callable[[float], bool]) -> Engine:
            engine.closed = False
            return engine.load(ModelOptions(model=Path("m.gguf")), on_progress=on_progress)

        return load_it

    return load(engines[0]), load(engines[1])


def settings_for(folder: Path, **options: Any) -> CompareSettings:
    """Two models that need not be there."""
    models = tuple(ModelOptions(model=Path(f"{label}.gguf")) for label in LABELS)
    return CompareSettings(models=models, data_folder=folder, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def comparison(
    folder: Path,
    engines: Sequence[ScriptedEngine],
    *,
    size: tuple[int, int] = (100, 30),
    checked: Callable[[], Prepared] = prepared,
    **options: Any,
) -> AsyncIterator[tuple[CompareApp, Pilot[Any]]]:
    """Open the app; the worker is closed after."""
    worker = CompareWorker(checked, loads(engines))
    preferences: Preferences = StoredPreferences(folder)
    app = CompareApp(worker, settings_for(folder, **options), preferences)
    async with app.run_test(size=size) as pilot:
        yield app, pilot
    assert worker.close(30)


def main(argv: Sequence[str] | None = None) -> int:
    """Open the comparison the way the product does."""
    parser = argparse.ArgumentParser(prog="comparing")
    parser.add_argument("--reply", action="append", default=[])
    parser.add_argument("--tokens-per-second", type=float, default=0)
    parser.add_argument("--load-seconds", type=float, default=0)
    parser.add_argument("--questions", type=int, default=0, help="compare a sheet of so many")
    parser.add_argument("--apart", action="store_true", help="as if both did not fit the memory")
    parser.add_argument("--lang", default="en")
    parser.add_argument("--no-tui", action="store_true")
    parser.add_argument("--json", action="store_true")
    errors.common_flags(parser)
    parser.set_defaults(handler=_compare)
    return errors.run(parser, argv)


def _compare(args: argparse.Namespace) -> int:
    rows = sheet_rows(args.questions)
    options = {"tokens_per_second": args.tokens_per_second, "load_seconds": args.load_seconds}
    engines: list[ScriptedEngine]
    if rows:
        engines = [Examinee(rows, lambda at: at % 5 == 0, **options), Examinee(rows, lambda at: at % 4 == 0, **options)]
    else:
        replies = args.reply or ["答案是 2。", "答案是 3。"]
        engines = [ScriptedEngine([reply], context_size=8192, **options) for reply in (replies[0], replies[-1])]
    settings = settings_for(
        data_folder(None),
        sampling=Sampling(max_tokens=10_000),
        language=args.lang,
        sheet=Path("考題.xlsx") if rows else None,
    )
    return compare_with(
        settings,
        lambda: prepared(rows=rows, together=not args.apart),
        loads(engines),
        no_tui=args.no_tui,
        as_json=args.json,
    )


if __name__ == "__main__":
    sys.exit(main())
