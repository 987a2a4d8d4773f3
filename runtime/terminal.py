"""Plain chat in a terminal, and one prompt from a pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from configs.errors import ToolError
from runtime.chat import ChatSession, Reply

# What could move a terminal's cursor or worse; newlines and tabs are fine.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

HELP = "/reset starts over, /quit or Ctrl-D ends, Ctrl-C stops a reply"


def answer_pipe(session: ChatSession, prompt: str) -> None:
    """Print the reply to one prompt."""
    for piece in session.ask(prompt):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def converse(session: ChatSession, read: Callable[[str], str] = input) -> None:
    """Read, reply, again, until /quit or the end of input. Ctrl-C at the prompt raises KeyboardInterrupt."""
    _say(HELP)
    while True:
        try:
            text = read("> ").strip()
        except EOFError:
            _say("")
            return
        if text == "/quit":
            return
        if text == "/reset":
            session.reset()
            _say("a new conversation")
        elif text.startswith("/"):
            _say(HELP)
        elif text:
            _exchange(session, text)


def _exchange(session: ChatSession, text: str) -> None:
    """Ask and show the reply; a message that is too long, or a reply that fails, does not end the chat."""
    try:
        if dropped := session.will_drop(text):
            turns = "turn is" if dropped == 1 else f"{dropped} turns are"
            _say(f"(the context is full: the oldest {turns} left out from here on)")
        _show(session.ask(text))
    except ToolError as error:
        _say(f"error: {error}")


def _show(reply: Reply) -> None:
    """Stream a reply; Ctrl-C ends the reply and not the program."""
    try:
        for piece in reply:
            sys.stdout.write(_CONTROL.sub("", piece))
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say(" (stopped)")
    sys.stdout.write("\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
