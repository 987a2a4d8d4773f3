"""Keys a person chose: read from `keys.toml`, shown where keys are shown, and at work."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from textual.binding import Binding

import tui
from configs.errors import ConfigError
from runtime.scripted import ScriptedEngine
from tests.tui.driving import chat, hear, prompt, replies, say, shown, status, until, write
from tui.keys import DEFAULTS, FILE_NAME, how_to_quit, keyed, keys_of, label, read_keys, use_keys
from tui.screens.help import HelpScreen
from tui.words import words


def keys(folder: Path, text: str) -> dict[str, str]:
    (folder / FILE_NAME).write_text(text, encoding="utf-8")
    return read_keys(folder)


def test_the_table_of_defaults_is_what_the_screens_have() -> None:
    found: dict[str, set[str]] = {}
    for info in pkgutil.walk_packages(tui.__path__, "tui."):
        if info.name.startswith("tui.web"):  # has no screen, and needs packages of its own
            continue
        module = importlib.import_module(info.name)
        for one in vars(module).values():
            if inspect.isclass(one) and one.__module__ == module.__name__:
                for binding in vars(one).get("BINDINGS", ()):
                    if isinstance(binding, Binding) and binding.id:
                        found.setdefault(binding.id, set()).add(binding.key)
    offered = {action: key for action, key in DEFAULTS.items() if not action.startswith("prompt.")}
    assert {action: {key} for action, key in offered.items()} == {action: found.get(action) for action in offered}
    scopes = {action.partition(".")[0] for action in offered} - {"chats", "help"}
    assert {action for action in found if action.partition(".")[0] in scopes} <= set(offered)


def test_a_file_is_read_in_tables_or_with_dots_and_none_is_no_change(tmp_path: Path) -> None:
    assert read_keys(tmp_path) == {}
    assert keys(tmp_path, '[chat]\nstop = "Ctrl+G"\n[prompt]\nnewline = ["ctrl+n", "shift+enter"]\n') == {
        "chat.stop": "ctrl+g",
        "prompt.newline": "ctrl+n,shift+enter",
    }
    assert keys(tmp_path, '"exam.run" = "f5"\nquit = "ctrl+x"') == {"exam.run": "f5", "quit": "ctrl+x"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[chat", "cannot be read"),
        ('[chat]\nstp = "f5"', "did you mean chat.stop"),
        ('something = "f5"', "there is no action"),
        ("quit = 5", "needs a key"),
        ("quit = []", "needs a key"),
        ('quit = "ctrl+nokey"', "no key 'ctrl+nokey'"),
        ('quit = "hyper+x"', "no key"),
        ('[chat]\nnew = "ctrl+m"', "cannot tell Ctrl+M from Enter"),
        ('[chat]\nnew = "n"', "is needed for writing"),
        ('[chat]\nnew = "ctrl+o"', "Ctrl+O would be both chat.new and chat.list"),
        ('[chat]\nnew = "f1"', "F1 would be both help and chat.new"),
        ('[chat]\nnew = "ctrl+j"', "would be both prompt.newline and chat.new"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        keys(tmp_path, text)
    assert says in str(error.value)
    assert FILE_NAME in str(error.value)


def test_two_actions_may_change_places(tmp_path: Path) -> None:
    assert keys(tmp_path, '[chat]\nnew = "ctrl+o"\nlist = "ctrl+l"') == {"chat.new": "ctrl+o", "chat.list": "ctrl+l"}


def test_rows_say_the_chosen_keys_of_their_own_screen() -> None:
    use_keys({"chat.stop": "ctrl+g", "quit": "ctrl+x"})
    rows = (("Esc", "stop"), ("E  R", "edit"), ("Ctrl+Q", "quit"))
    assert keyed(rows, "chat") == (("Ctrl+G", "stop"), ("E  R", "edit"), ("Ctrl+X", "quit"))
    assert keyed(rows, "exam")[0] == ("Esc", "stop")
    use_keys({"message.edit": "f8"})
    assert keyed(rows, "message")[1] == ("F8  R", "edit")
    assert keys_of("quit") == ("ctrl+q",)


def test_keys_are_written_as_on_a_keyboard() -> None:
    names = ("ctrl+q", "f12", "escape", "pageup", "e", "left_square_bracket", "ctrl+shift+home")
    assert [label(name) for name in names] == ["Ctrl+Q", "F12", "Esc", "PgUp", "E", "[", "Ctrl+Shift+Home"]


async def test_remapped_keys_work_and_are_shown_in_footer_and_help() -> None:
    use_keys(
        {"chat.stop": "ctrl+g", "quit": "ctrl+x", "help": "f9", "prompt.send": "ctrl+s", "prompt.newline": "enter"}
    )
    engine = ScriptedEngine(["字" * 400, "second"], tokens_per_second=50)
    async with chat(engine, size=(110, 30)) as (app, pilot):
        footer = str(status(app).render())
        assert all(
            part in footer for part in ("Ctrl+S send", "Enter new line", "Ctrl+G stop", "F9 help", "Ctrl+X quit")
        )
        await write(pilot, "a")
        await pilot.press("enter", "b")
        assert prompt(app).text == "a\nb"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "字字" in shown(replies(app)[0]) if replies(app) else False)
        await pilot.press("escape")  # means nothing any more
        assert status(app).state == words().writing
        await pilot.press("ctrl+g")
        assert (await hear(pilot, 1)).endswith(words().stopped)
        await pilot.press("ctrl+c")
        assert status(app).hint == how_to_quit() == "Ctrl+X quits."
        await pilot.press("f9")
        assert isinstance(app.screen, HelpScreen)
        text = str(app.screen.query_one("#help-card Static").render())
        assert "Ctrl+G" in text
        assert "F9" in text
        await pilot.press("f9")
        await pilot.press("ctrl+q")
        assert app.return_code is None
        await pilot.press("ctrl+x")
        assert app.return_code == 0


async def test_a_letter_that_is_a_key_of_messages_no_more_goes_to_the_prompt() -> None:
    use_keys({"message.edit": "f8"})
    async with chat(ScriptedEngine(["reply"])) as (app, pilot):
        await say(pilot, "question")
        await hear(pilot, 1)
        await pilot.press("tab", "e")
        assert prompt(app).text == "e"
        prompt(app).clear()
        await pilot.press("tab", "f8")
        assert prompt(app).text == "question"
