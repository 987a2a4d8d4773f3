"""The part of a reply in which a model thinks aloud before it answers."""

from __future__ import annotations

from dataclasses import dataclass

_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Parts:
    """A reply taken apart."""

    thinking: str | None
    """None where the reply does not begin with a thinking block."""
    closed: bool
    """Whether the block has ended."""
    answer: str


def take_apart(text: str) -> Parts:
    """Split a reply that begins with `<think>`; the tags anywhere else are text."""
    begun = text.lstrip()
    if not begun.startswith(_OPEN):
        return Parts(None, True, text)
    thinking, close, answer = begun.removeprefix(_OPEN).partition(_CLOSE)
    return Parts(thinking.strip("\n"), bool(close), answer.lstrip("\n"))
