"""What is done to a chat on the screen: versions, branches, the list of chats, commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key, Paste

from configs.errors import ConfigError
from runtime.scripted import ScriptedEngine
from tests.tui.driving import chat, hear, notes, prompt, replies, say, shown, status, text_of, until, write
from tests.tui.scripted import GatedEngine
from tui.screens.chat_list import ChatListScreen
from tui.screens.raw import RawScreen
from tui.widgets.command_hints import CommandHints
from tui.widgets.conversation import WINDOW
from tui.widgets.message_view import MessageView, UserMessage
from tui.words import words


def texts(app: Any) -> list[str]:
    """The contents of the messages that are shown."""
    return [view.message.content for view in app.screen.query(MessageView)]


async def test_a_chat_is_resumed_with_what_the_model_was_told(tmp_path: Path) -> None:
    engine = ScriptedEngine(["first reply", "second reply"])
    async with chat(engine, folder=tmp_path, system="SYS-TEXT") as (_, pilot):
        await say(pilot, "question one")
        await hear(pilot, 1)
    async with chat(engine, folder=tmp_path, resume=0) as (app, pilot):
        assert texts(app) == ["question one", "first reply"]
        await say(pilot, "question two")
        await hear(pilot, 2)
    seen = text_of(engine.prompts[1])
    order = [seen.index(part) for part in ("SYS-TEXT", "question one", "first reply", "question two")]
    assert order == sorted(order)


async def test_leaving_while_a_reply_is_written_keeps_what_there_is(tmp_path: Path) -> None:
    async with chat(ScriptedEngine(["字" * 4000], tokens_per_second=50), folder=tmp_path) as (app, pilot):
        await say(pilot, "one")
        await until(pilot, lambda: "字字字" in shown(replies(app)[0]) if replies(app) else False)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: app.return_code is not None)
    async with chat(ScriptedEngine(["x"]), folder=tmp_path, resume=1) as (app, _):
        assert texts(app)[1].startswith("字字字")
        assert shown(replies(app)[0]).endswith(words().stopped)


async def test_regenerated_replies_are_versions_that_brackets_choose(tmp_path: Path) -> None:
    engine = ScriptedEngine(["version A", "version B", "version C", "next"])
    async with chat(engine, folder=tmp_path) as (app, pilot):
        await say(pilot, "one")
        await hear(pilot, 1)
        for _ in range(2):
            await say(pilot, "/regen")
            await hear(pilot, 1)
            await until(pilot, lambda: status(app).state == words().ready)
        assert "version C" in shown(replies(app)[0])
        assert "version 3/3" in shown(replies(app)[0])
        await pilot.press("left_square_bracket")
        await pilot.press("left_square_bracket")
        assert texts(app) == ["one", "version A"]
        await pilot.press("right_square_bracket")
        assert texts(app) == ["one", "version B"]
        await write(pilot, "[x")
        assert prompt(app).text == "[x"
        await pilot.press("enter")
        await hear(pilot, 2)
    assert "version B" in text_of(engine.prompts[3])
    assert "version C" not in text_of(engine.prompts[3])
    assert len({text_of(ids) for ids in engine.prompts[:3]}) == 1
    async with chat(engine, folder=tmp_path, resume=0) as (app, _):
        assert texts(app) == ["one", "version B", "[x", "next"]
        assert "version 2/3" in shown(replies(app)[0])


async def test_giving_the_load_up_while_a_reply_is_asked_for_again_loses_nothing(tmp_path: Path) -> None:
    async with chat(ScriptedEngine(["first"]), folder=tmp_path) as (_, pilot):
        await say(pilot, "one")
        await hear(pilot, 1)
    for command in ("/regen", "/continue"):
        async with chat(GatedEngine(["x"]), folder=tmp_path, resume=0, ready=False) as (app, pilot):
            await say(pilot, command)
            await until(pilot, lambda: prompt(app).text == "")
            await pilot.press("escape")
            await until(pilot, lambda: status(app).state == words().not_loaded)
            assert texts(app)[0] == "one"
    async with chat(ScriptedEngine(["x"]), folder=tmp_path, resume=0) as (app, pilot):
        assert texts(app)[0] == "one"
        await pilot.press("tab", "left_square_bracket", "left_square_bracket")
        await until(pilot, lambda: texts(app) == ["one", "first"])


async def test_a_bracket_is_a_character_when_there_is_nothing_to_choose() -> None:
    async with chat(ScriptedEngine(["a", "b"])) as (app, pilot):
        await say(pilot, "one")
        await hear(pilot, 1)
        await pilot.press("left_square_bracket")
        assert prompt(app).text == "["


async def test_an_edited_question_is_a_branch_and_the_model_sees_that_branch_only() -> None:
    engine = ScriptedEngine(["a1", "a2", "a2 edited"])
    async with chat(engine) as (app, pilot):
        await say(pilot, "question 1")
        await hear(pilot, 1)
        await say(pilot, "question 2")
        await hear(pilot, 2)
        await say(pilot, "/edit 2")
        assert prompt(app).text == "question 2"
        prompt(app).clear()
        await say(pilot, "edited 2")
        await until(pilot, lambda: texts(app) == ["question 1", "a1", "edited 2", "a2 edited"])
        await until(pilot, lambda: status(app).state == words().ready)
        seen = text_of(engine.prompts[2])
        assert "a1" in seen
        assert "question 2" not in seen
        assert "a2" not in seen
        await pilot.press("tab", "up", "left_square_bracket")
        await until(pilot, lambda: texts(app) == ["question 1", "a1", "question 2", "a2"])


async def test_escape_gives_an_edit_up() -> None:
    engine = ScriptedEngine(["a1", "a2"])
    async with chat(engine) as (app, pilot):
        await say(pilot, "question 1")
        await hear(pilot, 1)
        await pilot.press("tab", "e")
        assert prompt(app).text == "question 1"
        assert status(app).hint == words().editing.format(number=1)
        await pilot.press("escape")
        assert (prompt(app).text, status(app).hint) == ("", "")
        await say(pilot, "question 2")
        await hear(pilot, 2)
        assert texts(app) == ["question 1", "a1", "question 2", "a2"]


@pytest.mark.parametrize("command", ["/edit 9", "/edit x"])
async def test_a_message_that_is_not_there_cannot_be_edited(command: str) -> None:
    async with chat(ScriptedEngine(["a1"])) as (app, pilot):
        await say(pilot, command)
        await until(pilot, lambda: "There is no message" in status(app).hint)


async def test_a_cut_reply_goes_on_where_it_ended() -> None:
    engine = ScriptedEngine(["字" * 10, "更多"])
    async with chat(engine, max_tokens=4) as (app, pilot):
        await say(pilot, "one")
        assert (await hear(pilot, 1)).endswith(words().cut.format(tokens=4))
        await say(pilot, "/continue")
        await until(pilot, lambda: "更多" in shown(replies(app)[0]))
        await hear(pilot, 1)
        assert texts(app) == ["one", "字字字字更多"]
    assert text_of(engine.prompts[1]).endswith("[/INST] 字字字字")


async def test_the_list_opens_searches_renames_and_deletes(tmp_path: Path) -> None:
    async with chat(ScriptedEngine(["臺灣雲豹", "石虎"]), folder=tmp_path, size=(100, 30)) as (app, pilot):
        for number, text in enumerate(("第一個 [b]問題[/b]", "第二個問題"), start=1):
            await say(pilot, text)
            await hear(pilot, 1)
            if number == 1:
                await pilot.press("ctrl+l")
        await pilot.press("ctrl+o")
        screen = app.screen
        assert isinstance(screen, ChatListScreen)
        await until(pilot, lambda: len(screen._found) == 2)
        screen.query_one("Input").value = "雲豹"
        await until(pilot, lambda: [found.title for found in screen._found] == ["第一個 [b]問題[/b]"])
        await pilot.press("f2")
        app.screen.query_one("Input").value = "雲豹 [/b]"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is screen and screen._found[0].title == "雲豹 [/b]")
        await pilot.press("enter")
        await until(pilot, lambda: texts(app) == ["第一個 [b]問題[/b]", "臺灣雲豹"])
        await pilot.press("ctrl+o")
        listing = app.screen
        await until(pilot, lambda: len(listing._found) == 2)
        at = [found.title for found in listing._found].index("雲豹 [/b]")
        listing.query_one("OptionList").highlighted = at
        await pilot.press("delete", "n")
        assert len(listing._found) == 2
        await pilot.press("delete", "y")
        await until(pilot, lambda: [found.title for found in listing._found] == ["第二個問題"])
        await pilot.press("escape")
        await until(pilot, lambda: texts(app) == [])


async def test_long_chats_show_their_end_and_the_rest_when_scrolled_to(tmp_path: Path) -> None:
    await long_chat(tmp_path, turns=80)
    async with chat(ScriptedEngine(["x"]), folder=tmp_path, resume=0) as (app, pilot):
        assert len(texts(app)) == WINDOW
        assert texts(app)[-1] == "answer 79"
        await pilot.press("ctrl+home")
        await until(pilot, lambda: len(texts(app)) == 2 * WINDOW)
        await pilot.pause()
        conversation = app.screen.query_one("#conversation")
        assert 0 < conversation.scroll_y < conversation.max_scroll_y
        while len(texts(app)) < 160:
            await pilot.press("ctrl+home")
            await pilot.pause(0.05)
        assert texts(app) == [f"{kind} {number}" for number in range(80) for kind in ("question", "answer")]
        await pilot.press("ctrl+end")
        await until(pilot, lambda: len(texts(app)) == WINDOW)
        assert conversation.scroll_y == conversation.max_scroll_y
        await say(pilot, "more")
        await until(pilot, lambda: texts(app)[-2:] == ["more", "x"])


async def long_chat(folder: Path, *, turns: int) -> None:
    """Leave a long chat in the folder."""
    from runtime.engine import Sampling
    from tui.chats.keeper import ChatKeeper
    from tui.chats.store import ChatStore

    keeper = ChatKeeper(ChatStore(folder), model="m", system=None, sampling=Sampling())
    for number in range(turns):
        keeper.ask(f"question {number}")
        keeper.grow(f"answer {number}")
        keeper.settle("done")
    keeper.close()


async def test_settings_are_changed_while_one_chats(tmp_path: Path) -> None:
    engine = ScriptedEngine(["字" * 50])
    async with chat(engine, folder=tmp_path) as (app, pilot):
        await say(pilot, "/set max_tokens 3")
        await say(pilot, "/system 新的系統提示 [b]")
        await until(pilot, lambda: len(notes(app)) == 2)
        assert "max_tokens 3" in notes(app)[0]
        assert notes(app)[1].endswith("新的系統提示 [b]")
        await say(pilot, "/set top_p 7")
        await until(pilot, lambda: "top_p" in status(app).hint)
        prompt(app).clear()
        await say(pilot, "one")
        assert (await hear(pilot, 1)).endswith(words().cut.format(tokens=3))
    assert "新的系統提示 [b]" in text_of(engine.prompts[0])
    async with chat(engine, folder=tmp_path, resume=0) as (app, _):
        assert app.screen.keeper.system == "新的系統提示 [b]"
        assert app.screen.keeper.sampling.max_tokens == 3


async def test_export_and_rename_as_commands(tmp_path: Path) -> None:
    async with chat(ScriptedEngine(["答案"]), size=(160, 30)) as (app, pilot):
        await say(pilot, "/export")
        await until(pilot, lambda: status(app).hint == words().no_chat)
        await say(pilot, "問題")
        await hear(pilot, 1)
        await say(pilot, "/rename 新名")
        await say(pilot, f"/export {tmp_path}/出口.json")
        await until(pilot, lambda: any("出口.json" in note for note in notes(app)))
    table = json.loads((tmp_path / "出口.json").read_text(encoding="utf-8"))
    assert table["title"] == "新名"
    assert [message["content"] for message in table["messages"]] == ["問題", "答案"]


async def test_copying_a_reply_or_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    reply = "看：\n\n```py\nprint('你好')\n```\n完"
    async with chat(ScriptedEngine([reply]), folder=tmp_path, size=(160, 30)) as (app, pilot):
        await say(pilot, "/copy")
        await until(pilot, lambda: status(app).hint == words().nothing_to_copy)
        await say(pilot, "one")
        await hear(pilot, 1)
        for what, copied in (("/copy code", "print('你好')"), ("/copy", reply)):
            await say(pilot, what)
            await until(pilot, lambda: app.clipboard == copied)  # noqa: B023
            assert (tmp_path / "copied.txt").read_text(encoding="utf-8") == copied
        assert str(tmp_path / "copied.txt") in status(app).hint
        await pilot.press("tab", "y")
        assert app.clipboard == "print('你好')"


async def test_thoughts_are_folded_and_unfold() -> None:
    async with chat(ScriptedEngine(["<think>\n想 <s> 想\n</think>\n\n答案"])) as (app, pilot):
        await say(pilot, "one")
        text = await hear(pilot, 1)
        assert "答案" in text
        assert "想 <s>" not in text
        assert "<think>" not in text
        await pilot.press("ctrl+t")
        assert "想 <s> 想" in shown(replies(app)[0])
        await say(pilot, "/think")
        await until(pilot, lambda: "想 <s> 想" not in shown(replies(app)[0]))


async def test_the_raw_view_shows_what_the_model_reads_with_its_special_tokens() -> None:
    async with chat(ScriptedEngine(["**a** </s> b"])) as (app, pilot):
        await say(pilot, "/raw")
        await until(pilot, lambda: status(app).hint == words().no_reply)
        await say(pilot, "q <s>")
        await hear(pilot, 1)
        await say(pilot, "/raw")
        await until(pilot, lambda: isinstance(app.screen, RawScreen))
        content = app.screen.query_one("#raw-card Static").content
        assert content.plain.startswith("<s>[INST] <<SYS>>")
        assert "q <s> [/INST] **a**" in content.plain
        special = [content.plain[begin:end] for begin, end, _ in content.spans]
        assert special == ["<s>", "</s>"]
        await pilot.press("escape")


async def test_earlier_messages_come_back_with_up_and_the_draft_with_down(tmp_path: Path) -> None:
    async with chat(ScriptedEngine(["x"]), folder=tmp_path) as (app, pilot):
        for number, text in enumerate(("first", "second\nline"), start=1):
            await say(pilot, text)
            await hear(pilot, number)
    async with chat(ScriptedEngine(["x"]), folder=tmp_path) as (app, pilot):
        await write(pilot, "draft")
        await pilot.press("up")
        assert prompt(app).text == "second\nline"
        await pilot.press("up", "up")
        assert prompt(app).text == "first"
        await pilot.press("up")
        assert prompt(app).text == "first"
        await pilot.press("down", "down", "down")
        assert prompt(app).text == "draft"


async def test_commands_are_listed_while_they_are_written_and_completed_with_tab() -> None:
    async with chat(ScriptedEngine(["x"])) as (app, pilot):
        hints = app.screen.query_one(CommandHints)
        await write(pilot, "/re")
        await until(pilot, lambda: hints.display)
        assert [line.split()[0] for line in str(hints.content).split("\n")] == ["/rename", "/regen", "/read"]
        await pilot.press("tab")
        assert prompt(app).text == "/rename "
        await until(pilot, lambda: not hints.display)


async def test_the_meter_says_beforehand_which_turns_a_message_pushes_out() -> None:
    async with chat(ScriptedEngine(["短"], context_size=500), max_tokens=20, size=(120, 24)) as (app, pilot):
        await say(pilot, "長" * 250)
        await hear(pilot, 1)
        await write(pilot, "長" * 150)
        await until(pilot, lambda: status(app).drops == 1)
        assert status(app).context_used > 400
        assert words().will_drop.format(turns="1 turn") in str(status(app).render())
        await write(pilot, "長" * 500)
        await until(pilot, lambda: "the context holds 500" in status(app).hint)
        assert status(app).context_used > status(app).context_size
        prompt(app).clear()
        await until(pilot, lambda: status(app).drops == 0)


async def test_a_paste_without_brackets_is_held_and_one_line_is_sent() -> None:
    engine = ScriptedEngine(["ok"])
    async with chat(engine) as (app, pilot):
        for _ in range(3):
            for key in ("a", "b", "enter"):
                app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: status(app).hint == words().paste_held)
        assert prompt(app).text == "ab\nab\nab\n"
        assert not app.screen.query(UserMessage)
        await pilot.pause(0.2)
        await pilot.press("enter")
        await hear(pilot, 1)
        assert texts(app)[0] == "ab\nab\nab"
        for key in ("o", "k", "enter"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await hear(pilot, 2)
        assert texts(app)[2] == "ok"


async def test_a_very_long_line_is_kept_aside_and_sent_whole() -> None:
    engine = ScriptedEngine(["ok"], context_size=100_000)
    async with chat(engine) as (app, pilot):
        app.post_message(Paste("字" * 50_000))
        await until(pilot, lambda: "50,000" in prompt(app).text)
        assert len(prompt(app).text) < 100
        await pilot.press("enter")
        await hear(pilot, 1)
    assert "字" * 50_000 in text_of(engine.prompts[0])


async def test_a_file_is_read_into_the_message(tmp_path: Path) -> None:
    (tmp_path / "文.txt").write_text("\ufeff第一行\n第二行", encoding="utf-8")
    async with chat(ScriptedEngine(["ok"]), size=(160, 30)) as (app, pilot):
        await say(pilot, f"/read {tmp_path}/文.txt")
        await until(pilot, lambda: prompt(app).text == "第一行\n第二行")
        prompt(app).clear()
        await say(pilot, f"/read {tmp_path}/none")
        await until(pilot, lambda: "cannot be read" in status(app).hint)


async def test_what_is_typed_while_a_message_is_selected_goes_to_the_prompt() -> None:
    async with chat(ScriptedEngine(["ok"])) as (app, pilot):
        await say(pilot, "one")
        await hear(pilot, 1)
        await pilot.press("tab")
        assert isinstance(app.screen.focused, MessageView)
        for key in "hey":  # as quick as a program types: the letters E and Y are no keys in a word
            app.post_message(Key(key, key))
        await until(pilot, lambda: prompt(app).text == "hey")
        assert prompt(app).has_focus


async def test_the_theme_is_remembered(tmp_path: Path) -> None:
    async with chat(ScriptedEngine(["x"]), folder=tmp_path) as (app, pilot):
        app.theme = "lora2edge-paper"
        await pilot.pause()
    async with chat(ScriptedEngine(["x"]), folder=tmp_path) as (app, _):
        assert app.theme == "lora2edge-paper"


async def test_adapters_are_plugged_in_and_out_while_one_chats(tmp_path: Path) -> None:
    engine = ScriptedEngine(["x"])
    async with chat(engine, size=(120, 30)) as (app, pilot):
        for command, plugged in (
            (f"/adapter {tmp_path}/甲.gguf=0.5", ((tmp_path / "甲.gguf", 0.5),)),
            (f"/adapter {tmp_path}/乙.gguf", ((tmp_path / "甲.gguf", 0.5), (tmp_path / "乙.gguf", 1.0))),
            (f"/adapter {tmp_path}/甲.gguf=2", ((tmp_path / "乙.gguf", 1.0), (tmp_path / "甲.gguf", 2.0))),
            ("/adapter -", ()),
        ):
            await say(pilot, command)
            await until(pilot, lambda: engine.adapters == plugged)  # noqa: B023
        await until(pilot, lambda: notes(app)[-1] == words().no_adapters)
        assert notes(app)[2] == "Adapters: 乙.gguf=1, 甲.gguf=2"


async def test_an_adapter_that_is_refused_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(adapters: object) -> tuple[str, ...]:
        raise ConfigError("乙.gguf is not a LoRA [b]adapter[/b]")

    engine = ScriptedEngine(["x"])
    monkeypatch.setattr(engine, "set_adapters", refuse)
    async with chat(engine, size=(120, 30)) as (app, pilot):
        await say(pilot, "/adapter 乙.gguf")
        await until(pilot, lambda: len(notes(app)) == 2)
        assert notes(app) == ["乙.gguf is not a LoRA [b]adapter[/b]", words().no_adapters]
