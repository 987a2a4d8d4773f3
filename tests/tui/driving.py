"""Drives the app in tests: writes, waits, reads."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from runtime.scripted import ScriptedEngine
from tests.tui.scripted import chat_app
from tui.widgets.message_view import Note, UserMessage
from tui.widgets.prompt_input import PromptInput
from tui.widgets.reply_message import ReplyMessage
from tui.widgets.status_line import StatusLine
from tui.words import words

_PATIENCE_S = 60.0


@asynccontextmanager
async def chat(
    engine: ScriptedEngine,
    *,
    size: tuple[int, int] = (80, 24),
    ready: bool = True,
    folder: Path | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Any, Pilot[Any]]]:
    """Open the app; by default wait for its model."""
    with tempfile.TemporaryDirectory() as scratch:
        app = chat_app(engine, folder or Path(scratch), **options)
        async with app.run_test(size=size) as pilot:
            if ready:
                await until(pilot, lambda: status(app).state == words().ready)
            yield app, pilot


def text_of(prompt_ids: tuple[int, ...]) -> str:
    """The prompt the engine saw, without its special tokens (one id is one character there)."""
    return "".join(chr(token) for token in prompt_ids if token < 0x110000)


async def until(pilot: Pilot[Any], condition: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():
            await pilot.pause(0.01)
    await pilot.pause()


async def write(pilot: Pilot[Any], text: str) -> None:
    """Write into the prompt (a pilot cannot press `，`)."""
    prompt(pilot.app).insert(text)
    await pilot.pause()


async def say(pilot: Pilot[Any], text: str) -> None:
    """Write and send."""
    await write(pilot, text)
    await pilot.press("enter")


async def hear(pilot: Pilot[Any], replies: int) -> str:
    """Wait for the end of so many replies and return the newest widget's text."""
    await until(pilot, lambda: len(ended_replies(pilot.app)) == replies)
    return shown(ended_replies(pilot.app)[-1])


def prompt(app: Any) -> PromptInput:
    """The widget to write in."""
    return app.screen.query_one(PromptInput)  # type: ignore[no-any-return]


def status(app: Any) -> StatusLine:
    """The last line."""
    return app.screen.query_one(StatusLine)  # type: ignore[no-any-return]


def replies(app: Any) -> list[ReplyMessage]:
    """Every reply, from top to bottom."""
    return list(app.screen.query(ReplyMessage))


def ended_replies(app: Any) -> list[ReplyMessage]:
    """The replies to which nothing will be added."""
    return [reply for reply in replies(app) if reply.ended]


def shown(widget: UserMessage | ReplyMessage | Note) -> str:
    """What a message shows, as plain text."""
    return str(widget.content)


def notes(app: Any) -> list[str]:
    """What the program has said in the conversation."""
    return [shown(note) for note in app.screen.query(Note)]
