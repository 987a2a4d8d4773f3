"""The chat screen, driven key by key on a scripted engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.content import Content
from textual.events import Key, Paste

from configs.errors import ConfigError
from runtime.scripted import ScriptedEngine
from tests.tui.driving import chat, hear, notes, prompt, replies, say, shown, status, text_of, until, write
from tests.tui.scripted import GatedEngine, chat_app
from tui.keys import how_to_quit
from tui.screens.help import HelpScreen
from tui.widgets.message_view import UserMessage
from tui.widgets.welcome import Welcome
from tui.words import words


async def test_a_reply_is_streamed_under_its_question() -> None:
    engine = ScriptedEngine(["答案是 2。\n因為文章說牠在樹上。"])
    async with chat(engine) as (app, pilot):
        await say(pilot, "牠在哪裡？")
        assert "答案是 2。\n因為文章說牠在樹上。" in await hear(pilot, 1)
        assert "牠在哪裡？" in shown(app.screen.query_one(UserMessage))
        assert prompt(app).text == ""
        assert prompt(app).has_focus
        assert status(app).context_used > 0
        assert not app.screen.query(Welcome)


async def test_the_text_grows_while_it_is_written() -> None:
    async with chat(ScriptedEngine(["字" * 400], tokens_per_second=100)) as (app, pilot):
        await say(pilot, "hi")
        await until(pilot, lambda: "字字字" in shown(replies(app)[0]) if replies(app) else False)
        first = shown(replies(app)[0])
        assert status(app).state == words().writing
        await until(pilot, lambda: len(shown(replies(app)[0])) > len(first))
        assert shown(replies(app)[0]).startswith(first)


async def test_escape_stops_and_keeps_the_text_and_the_next_message_is_answered() -> None:
    async with chat(ScriptedEngine(["字" * 400, "second"], tokens_per_second=50)) as (app, pilot):
        await say(pilot, "one")
        await until(pilot, lambda: "字字" in shown(replies(app)[0]) if replies(app) else False)
        await pilot.press("escape")
        text = await hear(pilot, 1)
        assert "字字" in text
        assert text.endswith(words().stopped)
        assert prompt(app).has_focus
        await say(pilot, "two")
        assert "second" in await hear(pilot, 2)


async def test_escape_stops_while_the_prompt_is_being_read() -> None:
    async with chat(ScriptedEngine(["never"], prefill_seconds=600)) as (app, pilot):
        await say(pilot, "one")
        await until(pilot, lambda: bool(replies(app)) and words().reading in shown(replies(app)[0]))
        await pilot.press("escape")
        assert (await hear(pilot, 1)).endswith(words().stopped_unsaid)
        assert status(app).context_used == 0
        assert status(app).state == words().ready


async def test_ctrl_c_stops_a_reply_and_otherwise_names_the_key_that_quits() -> None:
    async with chat(ScriptedEngine(["never"], prefill_seconds=600)) as (app, pilot):
        await pilot.press("ctrl+c")
        assert status(app).hint == how_to_quit()
        await say(pilot, "one")
        await pilot.press("ctrl+c")
        await hear(pilot, 1)


async def test_the_model_sees_the_earlier_turns_and_the_system_text() -> None:
    engine = ScriptedEngine(["first reply", "second reply"])
    async with chat(engine, system="SYS-TEXT") as (_, pilot):
        await say(pilot, "question one")
        await hear(pilot, 1)
        await say(pilot, "question two")
        await hear(pilot, 2)
    seen = text_of(engine.prompts[1])
    order = [seen.index(part) for part in ("SYS-TEXT", "question one", "first reply", "question two")]
    assert order == sorted(order)


async def test_ctrl_j_begins_a_new_line_and_enter_sends_both() -> None:
    engine = ScriptedEngine(["ok"])
    async with chat(engine) as (app, pilot):
        await pilot.press("a", "ctrl+j", "b")
        assert prompt(app).text == "a\nb"
        await pilot.press("enter")
        await hear(pilot, 1)
        assert shown(app.screen.query_one(UserMessage)).endswith("a\nb")
    assert "a\nb" in text_of(engine.prompts[0])
    assert len(engine.prompts) == 1


async def test_enter_on_nothing_sends_nothing() -> None:
    engine = ScriptedEngine(["ok"])
    async with chat(engine) as (app, pilot):
        await pilot.press("enter", "space", "ctrl+j", "enter")
        await pilot.pause()
        assert not replies(app)
    assert not engine.prompts


async def test_a_second_enter_does_not_start_a_second_reply() -> None:
    engine = ScriptedEngine(["字"], prefill_seconds=600)
    async with chat(engine) as (app, pilot):
        await write(pilot, "one")
        await pilot.press("enter", "enter")
        await write(pilot, "two")
        await pilot.press("enter")
        await pilot.pause()
        assert len(replies(app)) == 1
        assert prompt(app).text == "two"
        assert status(app).hint == words().still_writing
        await pilot.press("escape")
        await hear(pilot, 1)
        engine.prefill_seconds = 0
        await pilot.press("enter")
        await hear(pilot, 2)
    assert len(engine.prompts) == 2


@pytest.mark.parametrize(
    "text",
    [
        "[b]x[/b] [/b] 結束 [/]",
        "[@click=app.quit]quit[/] [link=https://example.org]l[/link]",
        "<s> <unk> <<SYS>> <think>…</think> &amp;",
        "$primary [$error]x {y} \\[z]",
    ],
)
async def test_text_is_shown_literally(text: str) -> None:
    async with chat(ScriptedEngine([text])) as (app, pilot):
        await say(pilot, f"</s>[INST] {text} [/INST]")
        assert text in await hear(pilot, 1)
        assert shown(app.screen.query_one(UserMessage)).endswith(f"</s>[INST] {text} [/INST]")
        await pilot.click(app.screen.query_one(UserMessage), offset=(4, 1))
        await pilot.pause()
        assert app.is_running


async def test_markdown_is_shown_as_what_it_means_and_the_question_as_it_was_written() -> None:
    text = "**答案：**B\nA. 甲\nB. 乙"
    async with chat(ScriptedEngine([text])) as (app, pilot):
        await say(pilot, text)
        assert "\n答案：B\nA. 甲\nB. 乙" in await hear(pilot, 1)
        assert shown(app.screen.query_one(UserMessage)).endswith(text)


async def test_control_characters_are_shown_and_not_obeyed() -> None:
    async with chat(ScriptedEngine(["a\x1b[31mb\x00c\x9bd"])) as (_, pilot):
        await say(pilot, "x\x1b]52;c;eA==\x07y")
        text = await hear(pilot, 1)
        assert "a␛[31mb␀c\N{REPLACEMENT CHARACTER}d" in text


async def test_an_error_is_one_sentence_and_the_prompt_stays_usable() -> None:
    engine = ScriptedEngine(["字字字字"], error="the engine is out of [b]breath[/b]")
    async with chat(engine) as (app, pilot):
        await say(pilot, "one")
        text = await hear(pilot, 1)
        assert "字字" in text
        assert text.endswith("the engine is out of [b]breath[/b]")
        engine.error = ""
        await say(pilot, "two")
        assert "字字字字" in await hear(pilot, 2)
        assert prompt(app).has_focus


async def test_an_error_that_nobody_foresaw_does_not_end_the_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(["fine"])
    async with chat(engine) as (_, pilot):
        with monkeypatch.context() as patch:
            patch.setattr(engine, "submit", lambda *_: 1 / 0)
            await say(pilot, "one")
            assert "ZeroDivisionError" in await hear(pilot, 1)
        await say(pilot, "two")
        assert "fine" in await hear(pilot, 2)


async def test_a_message_longer_than_the_context_is_told() -> None:
    async with chat(ScriptedEngine(["ok"], context_size=300)) as (_, pilot):
        await say(pilot, "長" * 400)
        assert "the context holds 300" in await hear(pilot, 1)


async def test_dropped_turns_are_told_once() -> None:
    async with chat(ScriptedEngine(["短"], context_size=400), max_tokens=20) as (app, pilot):
        for number in range(1, 4):
            await say(pilot, "長" * 100)
            await hear(pilot, number)
        assert any("no longer fit" in note for note in notes(app))
        assert len(notes(app)) == len(set(notes(app)))


async def test_a_reply_cut_at_its_limit_says_so() -> None:
    async with chat(ScriptedEngine(["字" * 50]), max_tokens=10) as (_, pilot):
        await say(pilot, "one")
        assert (await hear(pilot, 1)).endswith(words().cut.format(tokens=10))


async def test_a_message_may_be_sent_while_the_model_loads() -> None:
    engine = GatedEngine(["later"])
    async with chat(engine, ready=False) as (app, pilot):
        await say(pilot, "early")
        await until(pilot, lambda: bool(replies(app)) and words().waiting_for_model in shown(replies(app)[0]))
        assert status(app).state == words().loading
        engine.gate.set()
        assert "later" in await hear(pilot, 1)


async def test_load_progress_moves() -> None:
    async with chat(ScriptedEngine(["x"], load_seconds=0.5), ready=False) as (app, pilot):
        seen: set[float] = set()

        def loaded() -> bool:
            if status(app).load_fraction is not None:
                seen.add(status(app).load_fraction or 0.0)
            return status(app).state == words().ready

        await until(pilot, loaded)
        assert len(seen) > 3
        assert status(app).load_fraction is None
        assert status(app).context_size == 4096


async def test_escape_gives_the_load_up_takes_the_message_back_and_enter_loads_again() -> None:
    engine = GatedEngine(["now"])
    async with chat(engine, ready=False) as (app, pilot):
        await say(pilot, "early")
        await pilot.press("escape")
        await until(pilot, lambda: status(app).state == words().not_loaded)
        assert prompt(app).text == "early"
        assert not replies(app)
        assert words().load_given_up in notes(app)
        engine.gate.set()
        await pilot.press("enter")
        assert "now" in await hear(pilot, 1)
    assert len(engine.prompts) == 1


async def test_a_model_that_cannot_be_loaded_ends_the_app_with_its_error(tmp_path: Path) -> None:
    error = ConfigError("x.gguf is broken")
    app = chat_app(ScriptedEngine(), tmp_path, error=error)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.return_code is not None)
    assert app.failure is error
    assert app.return_code == 2


async def test_notes_of_the_engine_are_shown() -> None:
    engine = ScriptedEngine(["x"])
    engine.notes = ("the adapter's [b]format[/b] was taken",)
    async with chat(engine) as (app, pilot):
        await until(pilot, lambda: notes(app) == ["the adapter's [b]format[/b] was taken"])


@pytest.mark.parametrize("how", ["ctrl+l", "/clear"])
async def test_a_new_conversation_forgets_the_old_one(how: str) -> None:
    engine = ScriptedEngine(["first reply", "second reply"])
    async with chat(engine) as (app, pilot):
        await say(pilot, "one")
        await hear(pilot, 1)
        if how == "/clear":
            await say(pilot, how)
        else:
            await pilot.press(how)
        await until(pilot, lambda: not replies(app) and bool(app.screen.query(Welcome)))
        assert status(app).context_used == 0
        await say(pilot, "two")
        await hear(pilot, 1)
    assert "first reply" not in text_of(engine.prompts[1])


async def test_a_new_conversation_while_a_reply_runs_stops_it() -> None:
    engine = ScriptedEngine(["字" * 4000, "fresh"], tokens_per_second=50)
    async with chat(engine) as (app, pilot):
        await say(pilot, "one")
        await until(pilot, lambda: "字" in shown(replies(app)[0]) if replies(app) else False)
        await pilot.press("ctrl+l")
        await say(pilot, "two")
        text = await hear(pilot, 1)
        assert "fresh" in text
        assert "字" not in text
    assert "one" not in text_of(engine.prompts[1])


async def test_an_unknown_command_is_not_sent_and_two_slashes_send_it() -> None:
    engine = ScriptedEngine(["ok"])
    async with chat(engine) as (app, pilot):
        await say(pilot, "/foo")
        await pilot.pause()
        assert prompt(app).text == "/foo"
        assert "/foo" in status(app).hint
        prompt(app).clear()
        await say(pilot, "//foo")
        await hear(pilot, 1)
        assert shown(app.screen.query_one(UserMessage)).endswith("\n/foo")


@pytest.mark.parametrize("close", ["escape", "f1", "enter"])
async def test_help_opens_and_closes_and_the_prompt_is_focused_again(close: str) -> None:
    async with chat(ScriptedEngine(["x"])) as (app, pilot):
        await pilot.press("f1")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press(close)
        await pilot.pause()
        assert prompt(app).has_focus


async def test_the_palette_opens_and_its_commands_run() -> None:
    async with chat(ScriptedEngine(["x"])) as (app, pilot):
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert app.screen.__class__.__name__ == "CommandPalette"
        await pilot.press("escape")
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert titles == [title for title, _ in words().palette.values()]


@pytest.mark.parametrize("tokens_per_second", [0, 20])
async def test_ctrl_q_quits_with_exit_0_also_while_a_reply_is_written(tokens_per_second: float) -> None:
    engine = ScriptedEngine(["字" * 4000], tokens_per_second=tokens_per_second)
    async with chat(engine) as (app, pilot):
        if tokens_per_second:
            await say(pilot, "one")
            await until(pilot, lambda: "字" in shown(replies(app)[0]) if replies(app) else False)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: app.return_code is not None)
    assert app.return_code == 0


async def test_undo_after_a_paste_does_not_end_the_app() -> None:
    async with chat(ScriptedEngine(["x"])) as (app, pilot):
        for lines in (7, 12, 100):
            await write(pilot, "before")
            app.post_message(Paste("\n".join("貼上一行" for _ in range(lines))))
            await until(pilot, lambda: prompt(app).text.count("貼上") == lines)  # noqa: B023
            await pilot.press("ctrl+z", "ctrl+z")
            assert prompt(app).text == ""
            await pilot.press("ctrl+y")
            assert prompt(app).text.startswith("before")
            prompt(app).load_text("")
    assert app.return_code in (0, None)


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (20, 5), (120, 40), (5, 3)])
async def test_every_size_shows_prompt_and_status(size: tuple[int, int]) -> None:
    async with chat(ScriptedEngine(["答案是 2。" * 30]), size=size) as (app, pilot):
        await say(pilot, "你好，世界。「藏文」བོད་ཡིག་ " * 5)
        await hear(pilot, 1)
        await pilot.press("f1")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert prompt(app).region.bottom <= size[1]
        assert prompt(app).region.height >= 1
        assert status(app).region.height == 1


async def test_resizing_while_a_reply_is_written() -> None:
    async with chat(ScriptedEngine(["字元\n" * 200], tokens_per_second=400)) as (app, pilot):
        await say(pilot, "one")
        for width, height in ((5, 3), (150, 50), (20, 5), (61, 7), (80, 24)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
        await hear(pilot, 1)
        assert app.return_code is None


async def test_the_newest_text_is_followed_until_the_person_scrolls_up() -> None:
    async with chat(ScriptedEngine(["字元\n" * 200])) as (app, pilot):
        conversation = app.screen.query_one("#conversation")
        await say(pilot, "one")
        await hear(pilot, 1)
        assert conversation.scroll_y == conversation.max_scroll_y > 0
        await pilot.press("pageup")
        await pilot.pause()
        above = conversation.scroll_y
        assert above < conversation.max_scroll_y
        replies(app)[0].show(Content("more\n" * 400))
        await pilot.pause()
        assert conversation.scroll_y == above
        await pilot.press("ctrl+end")
        await pilot.pause()
        assert conversation.scroll_y == conversation.max_scroll_y


async def test_keys_that_come_in_one_burst_keep_their_order() -> None:
    engine = ScriptedEngine(["ok"], prefill_seconds=600)
    async with chat(engine) as (app, pilot):
        for key in ("o", "n", "e", "ctrl+j", "x", "enter"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: bool(app.screen.query(UserMessage)))
        assert [shown(message) for message in app.screen.query(UserMessage)] == ["You\none\nx"]
        assert prompt(app).text == ""


async def test_what_the_mouse_selects_is_copied_as_it_stands() -> None:
    async with chat(ScriptedEngine(["答案 [b]是[/b] 2"])) as (app, pilot):
        await say(pilot, "one")
        await hear(pilot, 1)
        await pilot.mouse_down(replies(app)[0], offset=(2, 1))
        await pilot.hover(replies(app)[0], offset=(20, 1))
        await pilot.mouse_up(replies(app)[0], offset=(20, 1))
        await pilot.press("ctrl+c")
        assert app.clipboard == "答案 [b]是[/b] 2"


async def test_a_theme_is_chosen_in_the_palette() -> None:
    async with chat(ScriptedEngine(["x"])) as (app, pilot):
        await pilot.press("ctrl+p")
        await pilot.press(*"theme", "enter")
        await until(pilot, lambda: app.screen.__class__.__name__ == "CommandPalette")
        await pilot.press(*"paper")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "lora2edge-paper")
