"""What the main screens look like, cell by cell: `SNAPSHOTS=write pytest tests/tui/test_snapshots.py` writes them anew."""

from __future__ import annotations

import io
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from textual.color import Color

from tests.tui.compare_scene import answered, asked
from tests.tui.driving import prompt, status
from tests.tui.screenshots import conversation
from tui.widgets.message_view import MessageView

pytestmark = pytest.mark.slow

_FOLDER = Path(__file__).with_name("snapshots")
_SIZES = [(80, 24), (120, 40), (60, 20)]
_SCENES = {
    "compare": (asked, []),
    "compare-marks-off": (asked, ["f2"]),
    "compare-sheet": (answered, ["right"]),
    "compare-row": (answered, ["right", "enter"]),
}
_SCREENS = {"chat": [], "help": ["f1"], "chats": ["ctrl+o"], "commands": ["slash", "e"]}


@pytest.fixture(autouse=True)
def _standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr("tui.chats.store.time.time", lambda: 1_790_000_000.0)


def text_of(app: Any) -> str:
    """The characters of the screen."""
    width, height = app.size
    console = Console(
        width=width, height=height, file=io.StringIO(), force_terminal=True, record=True, legacy_windows=False
    )
    console.print(app.screen._compositor.render_update(full=True))
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", _SCREENS)
async def test_a_screen_looks_as_it_did(screen: str, size: tuple[int, int]) -> None:
    path = _FOLDER / f"{screen}-{size[0]}x{size[1]}.txt"
    async with conversation(size) as (app, pilot):
        await pilot.press(*_SCREENS[screen])
        await pilot.pause(0.3)
        shown = text_of(app)
    if os.environ.get("SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", _SCENES)
async def test_a_comparison_looks_as_it_did_in_both_themes(name: str, size: tuple[int, int]) -> None:
    scene, keys = _SCENES[name]
    path = _FOLDER / f"{name}-{size[0]}x{size[1]}.txt"
    async with scene(size) as (app, pilot):
        await pilot.press(*keys)
        said = []
        for theme, dark in (("lora2edge-night", True), ("lora2edge-paper", False)):
            app.theme = theme
            await pilot.pause(0.5)
            said.append(text_of(app))
            for widget in app.screen.query("ComparedReply, RowTable, SideCard, #row-text, StatusLine"):
                *_, ground, ink = widget.colors
                assert (brightness(ground) < brightness(ink)) is dark
                assert contrast(ground, ink) >= 4.5
    if os.environ.get("SNAPSHOTS") == "write":
        path.write_text(said[0], encoding="utf-8")
    assert said[0] == said[1] == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_dark_and_light_say_the_same_in_colours_that_can_be_read(size: tuple[int, int]) -> None:
    async with conversation(size) as (app, pilot):
        said = []
        for theme, dark in (("lora2edge-night", True), ("lora2edge-paper", False)):
            app.theme = theme
            await pilot.pause(0.3)
            said.append(text_of(app))
            for widget in (*app.screen.query(MessageView), prompt(app), status(app)):
                *_, ground, ink = widget.colors
                assert (brightness(ground) < brightness(ink)) is dark
                assert contrast(ground, ink) >= 4.5
        app.theme = "ansi-dark"  # the terminal's own sixteen colours: the same text
        await pilot.pause(0.3)
        assert text_of(app) == said[0]
    assert said[0] == said[1]


async def test_after_many_sizes_the_picture_is_that_of_a_fresh_start() -> None:
    chance = random.Random(1)
    async with conversation((100, 32)) as (app, pilot):
        for _ in range(12):
            await pilot.resize_terminal(chance.randint(5, 150), chance.randint(3, 50))
        await pilot.resize_terminal(80, 24)
        await pilot.pause(0.5)
        assert text_of(app) == (_FOLDER / "chat-80x24.txt").read_text(encoding="utf-8")


def contrast(one: Color, other: Color) -> float:
    """Contrast ratio of WCAG 2, 1..21."""
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)


def brightness(color: Color) -> float:
    """Relative luminance of WCAG 2, 0..1."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
