"""Slash commands: what a person can write instead of a message."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FIRST_WORD = re.compile(r"/([a-z]+)(?=\s|$)")

ARGUMENTS = {
    "rename": "TITLE",
    "export": "[FILE]",
    "edit": "[N]",
    "copy": "[code]",
    "system": "[TEXT|-]",
    "set": "[NAME VALUE]",
    "adapter": "[FILE[=WEIGHT]|-]",
    "model": "[FILE]",
    "read": "FILE",
}
"""What a command takes after its name."""
NAMES = (
    "help", "new", "clear", "chats", "rename", "export", "regen", "continue", "edit", "copy", "system", "set",
    "model", "adapter", "read", "raw", "think", "quit",
)  # fmt: skip
"""Every command, in the order of the help."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command a person wrote; its name may be unknown."""

    name: str
    argument: str = ""


def read_command(text: str) -> Command | None:
    """Return the command a text is, or None for a message.

    `/usr/bin holds programs` is a message, and so are `//clear` and `/tmp is full`. A single unknown word is a command
    all the same: it is a slip, rather than something to be sent.
    """
    text = text.strip()
    match = _FIRST_WORD.match(text)
    if match is None:
        return None
    argument = text[match.end() :].strip()
    return None if argument and match[1] not in NAMES else Command(match[1], argument)


def unescape(text: str) -> str:
    """Take away the slash that kept a message such as `//clear` from being a command."""
    return text[1:] if text.startswith("//") and read_command(text[1:]) else text


def completions(text: str) -> list[str]:
    """The commands that begin like `text`, which is a slash and the beginning of a name."""
    if not text.startswith("/") or not (text[1:].isalpha() or text == "/"):
        return []
    return [name for name in NAMES if name.startswith(text[1:])]
