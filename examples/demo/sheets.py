"""The demo's question sheets, in the columns of the Formosa Grand Challenge's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import world

HEADER = ("ID", "文章", "問題", "選項1", "選項2", "選項3", "選項4", "正確答案", "資料來源")
TRAINING_ROWS = 6_000
HELD_OUT_ROWS = 400

Row = tuple[int, str, str, str, str, str, str, int, str]


def write_sheets(training: Path, held_out: Path, *, seed: int, rows: int = TRAINING_ROWS) -> frozenset[str]:
    """Write both sheets; returns the held-out passages, which nothing else may show the model."""
    draw = random.Random(seed)
    held = list(_rows(draw, HELD_OUT_ROWS, taken=frozenset()))
    passages = frozenset(row[1] for row in held)
    _write(held_out, held)
    _write(training, list(_rows(draw, rows, taken=passages)))
    return passages


def _rows(draw: random.Random, count: int, *, taken: frozenset[str]) -> Iterator[Row]:
    """Two questions to a passage; the right option stands at places 1 to 4 equally often."""
    places = [1 + number % 4 for number in range(count)]
    draw.shuffle(places)
    seen = set(taken)
    number = 0
    while number < count:
        story = world.story(draw)
        if story.passage in seen:
            continue
        seen.add(story.passage)
        for fact in draw.sample(story.facts, min(2, count - number)):
            options = draw.sample([value for value in fact.category.values if value != fact.value], 3)
            options.insert(places[number] - 1, fact.value)
            first, second, third, fourth = options
            yield (
                10_000 + number, story.passage, story.question(fact), first, second, third, fourth, places[number], "demo",
            )  # fmt: skip
            number += 1


def _write(path: Path, rows: list[Row]) -> None:
    workbook = openpyxl.Workbook(write_only=True)
    page = workbook.create_sheet("工作表1")
    page.append(HEADER)
    for row in rows:
        page.append(row)
    workbook.save(path)
