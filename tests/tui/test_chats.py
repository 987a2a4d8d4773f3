"""Chats are kept: as a tree, in a file that several programs use and a crash does not harm."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from configs.errors import ConfigError, MachineError
from runtime.engine import Sampling
from tui.chats.database import FILE_NAME, connect
from tui.chats.export import as_markdown, export, file_name
from tui.chats.folder import data_folder
from tui.chats.keeper import ChatKeeper
from tui.chats.search import find_chats
from tui.chats.store import ChatStore
from tui.chats.tree import title_of
from tui.sampling import changed, over

SAMPLING = Sampling(temperature=0.7, stop=("甲",))


@pytest.fixture
def store(tmp_path: Path) -> ChatStore:
    return ChatStore(tmp_path)


def keeper_of(store: ChatStore) -> ChatKeeper:
    return ChatKeeper(store, model="m", system=None, sampling=SAMPLING)


def say(keeper: ChatKeeper, question: str, answer: str) -> int:
    """One whole turn; returns the reply's id."""
    reply = keeper.ask(question)
    keeper.grow(answer)
    keeper.settle("done")
    return reply.id


def contents(keeper: ChatKeeper) -> list[str]:
    return [message.content for message in keeper.tree.path()]


def test_a_chat_is_read_back_as_it_was(store: ChatStore) -> None:
    keeper = keeper_of(store)
    keeper.set("系統", SAMPLING)
    say(keeper, "第一行\n第二行", "答 <s> 🙂")
    say(keeper, "q2", "a2")
    again = keeper_of(ChatStore(store.folder))
    again.open(store.chat(store.newest() or 0))
    assert contents(again) == ["第一行\n第二行", "答 <s> 🙂", "q2", "a2"]
    assert (again.system, again.sampling) == ("系統", SAMPLING)
    assert store.chat(1).title == "第一行"


def test_edits_and_new_answers_are_versions_and_the_model_sees_one_branch(store: ChatStore) -> None:
    keeper = keeper_of(store)
    first = say(keeper, "q1", "a1")
    second = say(keeper, "q2", "a2")
    keeper.answer_again(second)
    keeper.grow("a2 again")
    keeper.settle("done")
    assert contents(keeper) == ["q1", "a1", "q2", "a2 again"]
    question = keeper.tree.messages[first].parent
    edited = keeper.ask("q1 edited", instead_of=question)
    assert keeper.history(before=edited.parent) == []
    keeper.grow("a1 edited")
    keeper.settle("done")
    assert contents(keeper) == ["q1 edited", "a1 edited"]
    assert len(keeper.tree.versions(second)) == 2

    again = keeper_of(store)
    again.open(store.chat(1))
    assert contents(again) == ["q1 edited", "a1 edited"]
    again.show(second)
    assert contents(again) == ["q1", "a1", "q2", "a2"]
    assert [message["content"] for message in again.history()] == ["q1", "a1", "q2", "a2"]
    again.show(question or 0)
    assert contents(again)[-1] == "a2 again"


def test_thoughts_and_unanswered_questions_are_not_for_the_model(store: ChatStore) -> None:
    keeper = keeper_of(store)
    say(keeper, "q1", "<think>hm</think>\na1")
    keeper.ask("q2")
    keeper.settle("stopped")
    say(keeper, "q3", "a3")
    assert [message["content"] for message in keeper.history()] == ["q1", "a1", "q3", "a3"]


def test_a_question_that_was_taken_back_leaves_no_trace(store: ChatStore) -> None:
    keeper = keeper_of(store)
    say(keeper, "q1", "a1")
    keeper.take_back(keeper.ask("q2"))
    assert contents(keeper) == ["q1", "a1"]
    again = keeper_of(store)
    again.open(store.chat(1))
    assert contents(again) == ["q1", "a1"]


def test_an_edit_that_was_taken_back_shows_what_it_was_to_replace(store: ChatStore) -> None:
    keeper = keeper_of(store)
    first = say(keeper, "q1", "a1")
    say(keeper, "q2", "a2")
    keeper.take_back(keeper.ask("q1 edited", instead_of=keeper.tree.messages[first].parent))
    assert contents(keeper) == ["q1", "a1", "q2", "a2"]
    again = keeper_of(store)
    again.open(store.chat(1))
    assert contents(again) == ["q1", "a1", "q2", "a2"]


@pytest.mark.parametrize(
    ("wanted", "titles"),
    [
        ("答案", ["甲"]),  # two characters: below the index
        ("這是答案", ["甲"]),
        ("ANSWER", ["乙"]),
        ('"quoted" AND', ["乙"]),
        ("100%", ["乙"]),
        ("乙", ["乙"]),
        ("_", []),
        ("", ["乙", "甲"]),
        ("nowhere", []),
    ],
)
def test_search_finds_chinese_titles_and_signs(store: ChatStore, wanted: str, titles: list[str]) -> None:
    for title, answer in (("甲", "這是答案，不是問題"), ("乙", 'the answer is "quoted" AND 100%')):
        keeper = keeper_of(store)
        say(keeper, title, answer)
    assert [found.title for found in find_chats(store, wanted)] == titles


def test_search_follows_changes_and_deletions(store: ChatStore) -> None:
    keeper = keeper_of(store)
    reply = keeper.ask("q")
    keeper.grow("開頭的文字")
    keeper.settle("done")
    keeper.go_on(reply.id)
    keeper.grow("開頭的文字與後來的文字")
    keeper.settle("done")
    assert "後來的文字" in find_chats(store, "後來的文")[0].excerpt
    store.delete(1)
    assert not find_chats(store, "後來的文")
    assert not find_chats(store)
    assert store.connection.execute("SELECT COUNT(*) FROM messages").fetchone()[0] == 0
    store.connection.execute("INSERT INTO message_index(message_index) VALUES ('integrity-check')")


def test_renaming_and_preferences(store: ChatStore) -> None:
    say(keeper_of(store), "q", "a")
    store.rename(1, "新的名字")
    assert store.chat(1).title == "新的名字"
    assert store.preference("theme") is None
    store.set_preference("theme", "x")
    store.set_preference("theme", "y")
    assert store.preference("theme") == "y"
    with pytest.raises(ConfigError, match="no chat 7"):
        store.chat(7)


def test_prompts_are_remembered_once_each_newest_last(store: ChatStore) -> None:
    for text in ("a", "b", "a"):
        say(keeper_of(store), text, "x")
    assert store.prompts() == ["b", "a"]


def test_an_export_keeps_chinese_in_name_and_text(store: ChatStore, tmp_path: Path) -> None:
    keeper = keeper_of(store)
    reply = say(keeper, "繁體/中文:測試?", "答案 **是** <s>")
    folder = tmp_path / "out"
    folder.mkdir()
    first = export(store.chat(1), keeper.tree, folder)
    second = export(store.chat(1), keeper.tree, folder)
    assert (first.name, second.name) == ("繁體 中文 測試.md", "繁體 中文 測試-2.md")
    assert first.read_text(encoding="utf-8") == as_markdown(store.chat(1), keeper.tree)
    assert "## assistant\n\n答案 **是** <s>\n" in first.read_text(encoding="utf-8")
    keeper.answer_again(reply)
    keeper.grow("另一版")
    keeper.settle("done")
    table = json.loads(export(store.chat(1), keeper.tree, folder / "x.json").read_text(encoding="utf-8"))
    assert [message["content"] for message in table["messages"]] == ["繁體/中文:測試?", "另一版"]
    assert {message["content"] for message in table["versions"]} >= {"答案 **是** <s>", "另一版"}


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("繁體中文測試", "繁體中文測試"),
        ("../a\0b", "a b"),
        ("...", "chat-5"),
        ("字" * 100, "字" * 40),
        ("CON: x", "CON x"),
    ],
)
def test_file_names(title: str, name: str) -> None:
    assert file_name(title, 5) == name


def test_titles_are_short() -> None:
    assert title_of("\n\n  第一行  \n第二行") == "第一行"
    assert len(title_of("字" * 500)) == 60


def test_where_chats_live() -> None:
    home = Path.home()
    assert data_folder(Path("/x"), {"TUI_DATA_DIR": "/y"}) == Path("/x")
    assert data_folder(None, {"TUI_DATA_DIR": "/y"}) == Path("/y")
    assert data_folder(None, {"XDG_DATA_HOME": "/data"}, "linux") == Path("/data/lora2edge")
    assert data_folder(None, {"XDG_DATA_HOME": "relative"}, "linux") == home / ".local/share/lora2edge"
    assert data_folder(None, {}, "darwin") == home / "Library/Application Support/lora2edge"
    assert data_folder(None, {"LOCALAPPDATA": "/l"}, "win32") == Path("/l/lora2edge")


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_chats_are_for_their_owner_alone(store: ChatStore) -> None:
    assert (store.folder / FILE_NAME).stat().st_mode & 0o077 == 0


def test_a_file_of_a_newer_version_or_of_something_else_is_left_alone(tmp_path: Path) -> None:
    connect(tmp_path).execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="newer version"):
        connect(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="holds no chats"):
        connect(other)
    assert (other / FILE_NAME).read_bytes() == b"no database" * 100


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(MachineError, match="--data-dir"):
        connect(tmp_path / "file" / "folder")


def test_a_chat_that_cannot_be_saved_goes_on_in_memory(store: ChatStore) -> None:
    keeper = keeper_of(store)
    store.close()
    reply = say(keeper, "q", "a")
    assert keeper.trouble
    assert contents(keeper) == ["q", "a"]
    keeper.answer_again(reply)
    keeper.grow("b")
    keeper.settle("done")
    assert contents(keeper) == ["q", "b"]


@pytest.mark.parametrize("hold", ["IMMEDIATE", "EXCLUSIVE", "DEFERRED"])
def test_a_file_that_another_program_is_just_making_is_waited_for(tmp_path: Path, hold: str) -> None:
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE another_program (x)")
    other.execute(f"BEGIN {hold}")
    other.execute("SELECT * FROM another_program").fetchall()  # a deferred transaction takes its lock here
    done = threading.Timer(0.2, other.close)
    done.start()
    connection = connect(tmp_path)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    connection.close()
    done.join()


def test_a_file_that_stays_locked_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.chats.database._BUSY_S", 0.1)
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(MachineError, match="locked"):
        connect(tmp_path)
    other.close()


def test_two_programs_write_at_once(tmp_path: Path) -> None:
    def chat(name: str) -> None:
        keeper = keeper_of(ChatStore(tmp_path))
        for number in range(30):
            keeper.ask(f"{name}{number}")
            for length in range(5):
                keeper.grow("字" * length)
                keeper._saved_at = 0.0  # every piece is written
            keeper.settle("done")
            troubles.append(keeper.trouble)

    troubles: list[str] = []
    threads = [threading.Thread(target=chat, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(troubles) == {""}
    store = ChatStore(tmp_path)
    for number in (1, 2):
        keeper = keeper_of(store)
        keeper.open(store.chat(number))
        assert len(contents(keeper)) == 60
        assert set(contents(keeper)[1::2]) == {"字" * 4}


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    code = f"""
import os, signal
from tests.tui.test_chats import *
keeper = keeper_of(ChatStore(Path({str(tmp_path)!r})))
keeper.ask("q")
keeper._saved_at = 0
keeper.grow("half an ans")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    keeper = keeper_of(ChatStore(tmp_path))
    keeper.open(keeper.store.chat(1))
    assert contents(keeper) == ["q", "half an ans"]
    assert keeper.tree.path()[-1].state == "stopped"
    assert sqlite3.connect(tmp_path / FILE_NAME).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_sampling_is_changed_by_name_and_checked() -> None:
    assert changed(SAMPLING, "--top-p", "0.5").top_p == 0.5
    assert changed(SAMPLING, "top_k", "0").top_k == 0
    assert changed(changed(SAMPLING, "seed", "4"), "seed", "none").seed is None
    for name, value in (("top_p", "2"), ("max_tokens", "0"), ("stop", "x"), ("", "1")):
        with pytest.raises(ConfigError):
            changed(SAMPLING, name, value)


def test_a_chat_keeps_its_sampling_but_for_what_the_command_line_says() -> None:
    merged = over(SAMPLING, Sampling(top_k=7))
    assert (merged.temperature, merged.top_k, merged.stop) == (0.7, 7, ("甲",))
