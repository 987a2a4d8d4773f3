"""Comparisons for pictures and snapshots: a question to two models, and a sheet that both have answered."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from configs.exam import Question
from configs.sheets import SheetRow
from runtime.engine import Sampling
from runtime.scripted import ScriptedEngine
from tests.tui.comparing import Examinee, comparison, prepared
from tests.tui.driving import prompt, say, status, until
from tests.tui.exam_scene import _TEXTS
from tui.widgets.side_card import SideCard
from tui.words import words
from tui.words.comparing import compare_words

ASKED = "臺灣雲豹主要在哪裡活動？請用一句話回答，並寫出「森林」的藏文。"
_REPLIES = (
    "臺灣雲豹主要在**樹上**活動，棲地是中央山脈的闊葉林。\n\n藏文：**ནགས་ཚལ**。",
    "臺灣雲豹主要在**樹上與地面**活動，棲地是中央山脈的針葉林。\n\n藏文：**ནགས་གསེབ**。",
)
_SPEEDS = (9.4, 14.2)
_FIRST_AFTER_S = (0.42, 0.31)
_QUESTIONS_A_SECOND = (1.3, 2.1)


@asynccontextmanager
async def asked(size: tuple[int, int]) -> AsyncIterator[tuple[Any, Pilot[Any]]]:
    """One question, answered by both."""
    engines = [
        ScriptedEngine([reply], tokens_per_second=speed, prefill_seconds=first, context_size=8192)
        for reply, speed, first in zip(_REPLIES, _SPEEDS, _FIRST_AFTER_S, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        async with comparison(Path(folder), engines, size=size, sampling=Sampling(seed=7)) as (app, pilot):
            prompt(app).cursor_blink = False
            await until(pilot, lambda: status(app).state == words().ready)
            await say(pilot, ASKED)
            await until(pilot, lambda: bool(app.screen.query("CompareRound")) and status(app).state == words().ready)
            await pilot.pause(0.3)
            yield app, pilot


@asynccontextmanager
async def answered(size: tuple[int, int]) -> AsyncIterator[tuple[Any, Pilot[Any]]]:
    """A sheet, answered by both; how quickly is what a machine of this picture would say."""
    rows = sheet()
    engines = [Examinee(rows, lambda at: at % 9 == 4), Examinee(rows, lambda at: at % 5 == 1)]
    with tempfile.TemporaryDirectory() as folder:
        async with comparison(
            Path(folder), engines, size=size, checked=lambda: prepared(rows=rows), sheet=Path("考題.xlsx")
        ) as (app, pilot):
            await until(pilot, lambda: status(app).state == compare_words().done)
            for card, speed in zip(app.screen.query(SideCard), _QUESTIONS_A_SECOND, strict=True):
                card.speed = speed
            await pilot.pause(0.3)
            yield app, pilot


def sheet() -> list[SheetRow]:
    """The questions of the exam room's picture, over and over."""
    questions = [
        Question(passage, asked, tuple(choices.split()), place)
        for passage, questions in _TEXTS
        for asked, choices, place in questions
    ]
    return [
        SheetRow(number, str(number), Question(f"（{number}）{one.passage}", one.question, one.choices, one.answer))
        for number, one in enumerate((questions * 10)[:60], 1)
    ]
