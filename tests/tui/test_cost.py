"""What the screen costs in processor time: long chats, long replies. Limits are the promised ones, times two for a busy machine."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.events import AppBlur, AppFocus
from textual.pilot import Pilot

from runtime.engine import Sampling
from runtime.scripted import ScriptedEngine
from tests.tui.driving import chat, hear, say
from tui.chats.keeper import ChatKeeper
from tui.chats.store import ChatStore

pytestmark = pytest.mark.slow

_REPLY = "## 標題\n\n這是**一段**文字 `x`，很長很長很長。\n\n- 一\n- 二\n\n```py\nx=1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"


async def cpu_s(pilot: Pilot[Any], times: int, act: Callable[[], Awaitable[object]]) -> float:
    """Processor seconds of one of several repetitions."""
    begun = time.process_time()
    for _ in range(times):
        await act()
        await pilot.pause()
    return (time.process_time() - begun) / times


@pytest.mark.own_process
async def test_a_chat_of_three_hundred_messages_opens_quickly_and_keys_stay_quick(tmp_path: Path) -> None:
    keeper = ChatKeeper(ChatStore(tmp_path), model="m", system=None, sampling=Sampling())
    for number in range(150):
        keeper.ask(f"question {number}")
        keeper.grow(_REPLY)
        keeper.settle("done")
    keeper.close()
    begun = time.process_time()
    async with chat(ScriptedEngine(["x"]), folder=tmp_path, resume=0, size=(120, 40)) as (app, pilot):
        assert time.process_time() - begun < 2
        assert await cpu_s(pilot, 20, lambda: pilot.press("a")) < 0.06

        async def look_away_and_back() -> None:
            app.post_message(AppBlur())
            await pilot.pause()
            app.post_message(AppFocus())

        assert await cpu_s(pilot, 5, look_away_and_back) < 0.3
    # With pytest and its modules. getrusage tells of the process that started this one, too.
    status = Path("/proc/self/status")
    if status.exists():
        assert int(status.read_text().partition("VmHWM:")[2].split()[0]) < 300_000  # kB


async def test_five_thousand_tokens_in_one_fence_keep_up() -> None:
    engine = ScriptedEngine(["```python\n" + "x = foo(bar, 12)\n" * 625], tokens_per_second=400, context_size=20_000)
    async with chat(engine, max_tokens=10_000, size=(120, 40)) as (_, pilot):
        begun = time.process_time()
        await say(pilot, "one")
        await hear(pilot, 1)
        assert "x = foo" in await hear(pilot, 1)
        assert (time.process_time() - begun) / 5_000 < 0.008
