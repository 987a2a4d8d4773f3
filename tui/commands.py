"""Slash commands: what a person can write instead of a message."""

from __future__ import annotations

import re

_COMMAND = re.compile(r"/([a-z]+)")


def read_command(text: str) -> str | None:
    """Return the command's name if the whole text is one word after a slash, else None.

    `/usr/bin holds programs` is a message, and so is `//clear`.
    """
    match = _COMMAND.fullmatch(text.strip())
    return match.group(1) if match else None


def unescape(text: str) -> str:
    """Take away the slash that kept a message such as `//clear` from being a command."""
    return text[1:] if text.startswith("//") and _COMMAND.fullmatch(text[1:].strip()) else text
