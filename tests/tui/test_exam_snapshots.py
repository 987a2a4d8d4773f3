"""What the exam room looks like: `SNAPSHOTS=write pytest tests/tui/test_exam_snapshots.py` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.color import Color

from tests.tui.exam_scene import sitting
from tests.tui.exams import table
from tests.tui.test_snapshots import brightness, contrast, text_of
from tui.words import choose

pytestmark = pytest.mark.slow

_FOLDER = Path(__file__).with_name("snapshots")
_SIZES = [(80, 24), (120, 40), (60, 20)]
_SCREENS = {
    "exam-before": (0, []),
    "exam": (160, []),
    "exam-wrong": (160, ["2", "down"]),
    "exam-question": (160, ["2", "down", "enter"]),
    "exam-bad-row": (160, ["5", "enter"]),
    "exam-export": (160, ["2", "e"]),
    "exam-help": (160, ["f1"]),
}


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", _SCREENS)
async def test_a_screen_looks_as_it_did(screen: str, size: tuple[int, int]) -> None:
    answered, keys = _SCREENS[screen]
    async with sitting(size, answered=answered) as (app, pilot):
        await pilot.press(*keys)
        await pilot.pause(0.3)
        compare(f"{screen}-{size[0]}x{size[1]}", text_of(app))


@pytest.mark.parametrize("size", [(44, 14), (20, 6)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_small_room_looks_as_it_did(size: tuple[int, int]) -> None:
    async with sitting(size) as (app, _):
        compare(f"exam-{size[0]}x{size[1]}", text_of(app))


@pytest.mark.parametrize("language", ["zh-Hant", "zh-Hans"])
async def test_the_chinese_room_looks_as_it_did(language: str) -> None:
    choose(language)
    async with sitting((80, 24)) as (app, _):
        compare(f"exam-{language}", text_of(app))


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_dark_and_light_say_the_same_in_colours_that_can_be_read(size: tuple[int, int]) -> None:
    async with sitting(size) as (app, pilot):
        said = []
        for theme, dark in (("lora2edge-night", True), ("lora2edge-paper", False)):
            app.theme = theme
            await pilot.pause(0.3)
            said.append(text_of(app))
            for segment in (segment for y in range(table(app).size.height) for segment in table(app).render_line(y)):
                if segment.text.strip() and segment.style and segment.style.color and segment.style.bgcolor:
                    ink, ground = (
                        Color.from_rich_color(segment.style.color),
                        Color.from_rich_color(segment.style.bgcolor),
                    )
                    assert (brightness(ground) < brightness(ink)) is dark, segment
                    assert contrast(ground, ink) >= 3.5, segment  # numbers and IDs are quieter than the text
    assert said[0] == said[1]


def compare(name: str, shown: str) -> None:
    """Hold what is shown against what was."""
    path = _FOLDER / f"{name}.txt"
    if os.environ.get("SNAPSHOTS") == "write":
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")
