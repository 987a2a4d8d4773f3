"""The line under a reply: how it ended, and how quickly it came."""

from __future__ import annotations

from typing import NamedTuple

from tui.chats.tree import StoredMessage
from tui.messages import ReplyFigures
from tui.text import visible
from tui.words import words

_QUIET = "$foreground 60%"
_FIGURES = "$foreground 45%"
_SOON_S = 0.05


class Foot(NamedTuple):
    """One line and its colour."""

    text: str
    style: str


def foot_of_figures(figures: ReplyFigures, *, unsaid: bool) -> Foot:
    """The foot of a reply that has just ended."""
    if figures.finish == "cancelled":
        return Foot(words().stopped_unsaid if unsaid else words().stopped, "$warning")
    if unsaid:
        return Foot(words().empty_reply, _QUIET)
    if figures.finish == "length":
        return Foot(words().cut.format(tokens=figures.tokens), "$warning")
    if not figures.tokens_per_second:
        return Foot(words().tokens.format(tokens=figures.tokens), _FIGURES)
    said = words().speed.format(tokens=figures.tokens, speed=figures.tokens_per_second)
    if figures.prompt_seconds >= _SOON_S:
        said += f"   {words().first_word.format(seconds=figures.prompt_seconds)}"
    return Foot(said, _FIGURES)


def foot_of_stored(message: StoredMessage) -> Foot | None:
    """The foot of a reply from the file; None while it is being written."""
    unsaid = not message.content.strip()
    if message.state == "writing":
        return None
    if message.state == "failed":
        return Foot(visible(message.foot), "$error")
    if message.state == "stopped":
        return Foot(words().stopped_unsaid if unsaid else words().stopped, "$warning")
    if message.state == "cut":
        return Foot(words().cut.format(tokens=message.foot), "$warning")
    return Foot(words().empty_reply if unsaid else "", _QUIET)
