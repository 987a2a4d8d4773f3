"""Text from anywhere is safe to show, and commands are told from messages."""

from __future__ import annotations

import pytest

from tui.commands import Command, completions, read_command, unescape
from tui.text import visible


def test_control_characters_become_signs() -> None:
    everything = "".join(chr(code) for code in range(0x100))
    shown = visible(everything)
    assert not {character for character in shown if ord(character) < 0x20 and character not in "\n\t"}
    assert not {character for character in shown if 0x7F <= ord(character) < 0xA0}


def test_text_and_line_ends_stay() -> None:
    assert visible("甲\r\n乙\r丙\n\tབོད <s> 👍🏽") == "甲\n乙\n丙\n\tབོད <s> 👍🏽"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/clear", Command("clear")),
        (" /help ", Command("help")),
        ("/nonsense", Command("nonsense")),
        ("/set top_p 0.5", Command("set", "top_p 0.5")),
        ("/system 第一行\n第二行", Command("system", "第一行\n第二行")),
        ("/usr/bin is a path", None),
        ("/tmp is full", None),
        ("//clear", None),
        ("1/2", None),
        ("/", None),
    ],
)
def test_a_command_is_a_known_word_after_a_slash(text: str, command: Command | None) -> None:
    assert read_command(text) == command


def test_two_slashes_send_a_command_as_text() -> None:
    assert unescape("//clear") == "/clear"
    assert unescape("// a comment") == "// a comment"


def test_the_beginning_of_a_command_is_completed() -> None:
    assert completions("/re") == ["rename", "regen", "read"]
    assert not completions("/re ")
    assert not completions("re")
    assert not completions("/usr/")
