"""Another model in the middle of a chat: the chat goes on, and a load that fails costs nothing."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from configs.errors import ToolError
from runtime.engine import Engine, ModelOptions, Sampling
from runtime.scripted import ScriptedEngine
from tests import tiny
from tests.runtime import make_gguf
from tests.tui.driving import hear, notes, prompt, say, status, text_of, until
from tui.app import ChatApp
from tui.chats.models import choices, remembered, with_newest
from tui.chats.store import ChatStore
from tui.opening import open_keeper
from tui.screens.model_list import ModelListScreen
from tui.settings import ChatSettings, Models
from tui.widgets.reply_message import ReplyMessage
from tui.words import words
from tui.worker import ChatWorker


@dataclass(frozen=True, slots=True)
class Shelf(Models):
    """Models that need not be read: an engine for every file, or an error."""

    engines: dict[str, Any] = field(default_factory=dict)
    together: bool = True
    loads: list[str] = field(default_factory=list)

    def fit_together(self, first: Path, second: Path) -> bool:
        return self.together

    def load_one(self, options: ModelOptions, on_progress: Callable[[float], bool]) -> Engine:
        self.loads.append(options.model.name)
        found = self.engines[options.model.name]
        if isinstance(found, Exception):
            raise found
        if isinstance(found, threading.Event):
            while not found.wait(0.01):
                if not on_progress(0.5):
                    raise ToolError("the load was given up")
        found.closed = False
        return found.load(options, on_progress=on_progress)  # type: ignore[no-any-return]


@asynccontextmanager
async def chat(
    folder: Path, engines: dict[str, Any], *, together: bool = True
) -> AsyncIterator[tuple[ChatApp, Pilot[Any], Shelf]]:
    """Open a chat with a.gguf, beside the other files."""
    for name in engines:
        (folder / name).write_bytes(b"GGUF")
    options = ModelOptions(model=folder / "a.gguf", adapters=((folder / "lora.gguf", 0.5),))
    shelf = Shelf(options, lambda options, on_progress: shelf.load_one(options, on_progress), engines, together)
    settings = ChatSettings(options=options, sampling=Sampling(), data_folder=folder / "chats")
    worker = ChatWorker(shelf)
    app = ChatApp(worker, open_keeper(settings))
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: status(app).state == words().ready)
        yield app, pilot, shelf
    assert worker.close(30)


async def test_the_chat_goes_on_with_the_other_model_which_sees_what_was_said(tmp_path: Path) -> None:
    first, second = ScriptedEngine(["from a"]), ScriptedEngine(["from b"])
    async with chat(tmp_path, {"a.gguf": first, "b.gguf": second}) as (app, pilot, _):
        await say(pilot, "question one")
        await hear(pilot, 1)
        await say(pilot, f"/model {tmp_path / 'b.gguf'}")
        await until(pilot, lambda: words().switched.format(model="b") in notes(app))
        assert first.closed
        assert words().switched_adapters in notes(app)
        assert str(app.screen.query_one("#title-model").render()) == "b"
        await say(pilot, "question two")
        assert (await hear(pilot, 2)).startswith("b\nfrom b")
        heads = [str(reply.content).partition("\n")[0] for reply in app.screen.query(ReplyMessage)]
        assert heads == ["a", "b"]
    assert "from a" in text_of(second.prompts[0])
    store = ChatStore(tmp_path / "chats")
    assert [message.model for message in store.tree(1).path()] == ["", "a", "", "b"]
    assert remembered(store.preference("models")) == [tmp_path / "b.gguf", tmp_path / "a.gguf"]


@pytest.mark.parametrize("together", [True, False])
async def test_a_model_that_cannot_be_loaded_leaves_the_old_one_answering(tmp_path: Path, together: bool) -> None:
    first = ScriptedEngine(["still here"])
    engines = {"a.gguf": first, "b.gguf": ToolError("b.gguf is truncated [/b]")}
    async with chat(tmp_path, engines, together=together) as (app, pilot, shelf):
        await say(pilot, f"/adapter {tmp_path / 'x.gguf'}=2")
        await say(pilot, f"/model {tmp_path / 'b.gguf'}")
        await until(pilot, lambda: words().still_there.format(model="a") in notes(app))
        assert any("truncated [/b]" in note for note in notes(app))
        assert status(app).state == words().ready
        assert shelf.loads == (["a.gguf", "b.gguf"] if together else ["a.gguf", "b.gguf", "a.gguf"])
        if not together:  # loaded again: with what was plugged in meanwhile
            assert first.adapters[-1] == (tmp_path / "x.gguf", 2.0)
        await say(pilot, "hello")
        assert "still here" in await hear(pilot, 1)


async def test_escape_gives_the_load_up_and_the_old_model_goes_on(tmp_path: Path) -> None:
    gate = threading.Event()
    async with chat(tmp_path, {"a.gguf": ScriptedEngine(["still here"]), "b.gguf": gate}) as (app, pilot, _):
        await say(pilot, f"/model {tmp_path / 'b.gguf'}")
        await until(pilot, lambda: status(app).load_fraction == 0.5)
        await say(pilot, "early")
        assert prompt(app).text == "early"
        await pilot.press("escape")
        await until(pilot, lambda: words().switch_given_up.format(model="b") in notes(app))
        assert status(app).state == words().ready
        await pilot.press("enter")
        assert "still here" in await hear(pilot, 1)


async def test_where_memory_holds_one_the_old_model_leaves_first(tmp_path: Path) -> None:
    first, second = ScriptedEngine(["x"]), ScriptedEngine(["y"])
    seen = []
    load = second.load
    second.load = lambda *a, **k: (seen.append(first.closed), load(*a, **k))[1]  # type: ignore[method-assign]
    async with chat(tmp_path, {"a.gguf": first, "b.gguf": second}, together=False) as (app, pilot, _):
        await say(pilot, f"/model {tmp_path / 'b.gguf'}")
        await until(pilot, lambda: words().switched.format(model="b") in notes(app))
    assert seen == [True]


async def test_what_is_no_model_file_is_one_sentence(tmp_path: Path) -> None:
    async with chat(tmp_path, {"a.gguf": ScriptedEngine(["x"])}) as (app, pilot, _):
        await say(pilot, f"/model {tmp_path / 'none.gguf'}")
        await until(pilot, lambda: any("does not exist" in note for note in notes(app)))
        assert status(app).state == words().ready


async def test_a_model_is_picked_from_a_list(tmp_path: Path) -> None:
    vocabulary = tiny.tokenizer(tmp_path)
    second = ScriptedEngine(["from b"])
    async with chat(tmp_path, {"a.gguf": ScriptedEngine(["x"]), "模型二.gguf": second}) as (app, pilot, _):
        make_gguf.model(tmp_path / "a.gguf", vocabulary)
        make_gguf.model(tmp_path / "模型二.gguf", vocabulary)
        make_gguf.adapter(tmp_path / "lora.gguf")
        await pilot.press("f3")
        assert isinstance(app.screen, ModelListScreen)
        options = app.screen.query_one(OptionList)
        await until(pilot, lambda: options.option_count == 2)  # the adapter is none
        lines = [str(options.get_option_at_index(at).prompt) for at in range(2)]
        assert lines[0].startswith("● a.gguf")
        assert "模型二.gguf" in lines[1]
        await pilot.press("down", "enter")
        await until(pilot, lambda: words().switched.format(model="模型二") in notes(app))


def test_recent_models_are_remembered_once_each_newest_first(tmp_path: Path) -> None:
    value = None
    for name in ("a", "b", "a", *map(str, range(20))):
        value = with_newest(value, tmp_path / name)
    paths = remembered(value)
    assert paths[0] == tmp_path / "19"
    assert len(paths) == len(set(paths)) == 12
    assert remembered("{broken") == []
    assert remembered('{"a": 1}') == []


def test_models_that_are_gone_or_broken_are_not_offered(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "else"
    vocabulary = tiny.tokenizer(tmp_path)
    for folder in (here, elsewhere):
        folder.mkdir()
    current = make_gguf.model(here / "a.gguf", vocabulary)
    other = make_gguf.model(elsewhere / "b.gguf", vocabulary)
    (here / "half.gguf").write_bytes(current.read_bytes()[:5000])
    found = choices(current, [other, elsewhere / "gone.gguf", current])
    assert [model.path for model in found] == [current, other]
    assert found[0].size_bytes == current.stat().st_size


def test_a_file_of_chats_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    import sqlite3

    from tui.chats import database

    connection = sqlite3.connect(tmp_path / database.FILE_NAME, isolation_level=None)
    for statement in database._statements(database._VERSIONS[0]):
        connection.execute(statement)
    connection.execute("PRAGMA user_version = 1")
    connection.execute("INSERT INTO chats VALUES (1, 't', 'm', NULL, '{}', 2, 0, 0)")
    connection.execute("INSERT INTO messages VALUES (1, 1, NULL, 'user', 'q', 'done', '', 0)")
    connection.execute("INSERT INTO messages VALUES (2, 1, 1, 'assistant', 'r', 'done', '', 0)")
    connection.close()
    store = ChatStore(tmp_path)
    assert [(message.content, message.model) for message in store.tree(1).path()] == [("q", ""), ("r", "")]
    store.close()
