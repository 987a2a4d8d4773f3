"""Plain chat in a terminal, and one prompt from a pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

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
            _show(session.ask(text))


def _show(reply: Reply) -> None:
    """Stream a reply; Ctrl-C ends the reply and not the program."""
    if reply.dropped_turns:
        _say(f"(the context is full: the first {reply.dropped_turns} turns are no longer seen)")
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
