"""Draws the pictures of the documentation: `python -m tests.tui.screenshots docs/images`.

A scripted conversation on a fixed size gives the same bytes every time.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from configs.errors import ToolError
from runtime.scripted import ScriptedEngine
from tests.tui.compare_scene import answered, asked
from tests.tui.comparing import LABELS
from tests.tui.driving import chat, ended_replies, prompt, until, write
from tests.tui.exam_scene import sitting
from tests.tui.png import check_tools, write_png
from tests.tui.svg import mended
from tui.app import ChatApp

SIZE = (100, 32)
OPENED = ("down", "down", "down", "down", "down", "down", "enter")
"""Keys from the second row to a question that was answered wrongly."""
MODEL_LABEL = "formosa-7b-q4_0"

QUESTION = """請閱讀以下文章，回答問題。

臺灣雲豹曾棲息於中央山脈的闊葉林，主要在樹上活動，以獼猴、山羌與鳥類為食。
1983 年以後再也沒有可靠的發現紀錄，學者於 2013 年推定牠已在野外滅絕。

臺灣雲豹主要在哪裡活動？
1. 草原　2. 樹上　3. 河岸　4. 洞穴"""
ANSWER = """**答案：2。樹上**

1. 文章第一句說，臺灣雲豹「**主要在樹上活動**」。
2. 草原、河岸與洞穴，文中都沒有提到。"""
FOLLOW_UP = "為什麼不選「河岸」？"
SECOND = "文中沒有提到河岸：棲地是中央山脈的闊葉林，獵物是獼猴、山羌與鳥類。"


@asynccontextmanager
async def conversation(size: tuple[int, int] = SIZE) -> AsyncIterator[tuple[ChatApp, Pilot[None]]]:
    """Hold the scripted conversation, and leave the app open."""
    engine = ScriptedEngine([ANSWER, SECOND], tokens_per_second=25, context_size=2048)
    async with chat(engine, size=size, model=MODEL_LABEL) as (app, pilot):
        prompt(app).cursor_blink = False
        for number, text in enumerate((QUESTION, FOLLOW_UP), start=1):
            await write(pilot, text)
            await pilot.press("enter")
            await until(pilot, lambda: len(ended_replies(app)) == number)  # noqa: B023
        yield app, pilot


async def draw_chat() -> str:
    """Return the picture of the conversation as SVG."""
    async with conversation() as (app, _):
        return app.export_screenshot(title=f"tui chat --model {MODEL_LABEL}.gguf")


async def draw_exam(*keys: str) -> str:
    """Return the picture of the exam room, after some keys, as SVG."""
    async with sitting(SIZE) as (app, pilot):
        await pilot.press(*keys)
        await pilot.pause(0.3)
        picture: str = app.export_screenshot(title="tui predict formosa.csv --output answers.csv")
        return picture


async def draw_compare() -> str:
    """Return the picture of two models' replies as SVG."""
    async with asked(SIZE) as (app, _):
        picture: str = app.export_screenshot(title=f"tui compare --model {LABELS[0]}.gguf --model {LABELS[1]}.gguf")
        return picture


async def draw_compare_sheet() -> str:
    """Return the picture of a sheet that two models have answered as SVG."""
    async with answered(SIZE) as (app, pilot):
        await pilot.press("right")
        await pilot.pause(0.3)
        picture: str = app.export_screenshot(
            title=f"tui compare --model {LABELS[0]}.gguf --model {LABELS[1]}.gguf 考題.xlsx"
        )
        return picture


PICTURES: dict[str, Callable[[], Coroutine[Any, Any, str]]] = {
    "tui-chat": draw_chat,
    "tui-predict": draw_exam,
    "tui-predict-question": lambda: draw_exam("down", *OPENED),
    "tui-compare": draw_compare,
    "tui-compare-sheet": draw_compare_sheet,
}


def main(output: Path) -> int:
    """Write every picture into the folder `output`; returns the exit code."""
    try:
        check_tools()
        output.mkdir(parents=True, exist_ok=True)
        for name, draw in PICTURES.items():
            write_png(mended(asyncio.run(draw())), output / f"{name}.png")
    except ToolError as error:
        sys.stderr.write(f"screenshots: error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
