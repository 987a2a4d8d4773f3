"""The chat without a screen: text in, text out, nothing for a terminal to interpret.

For pipes, for TERM=dumb, for `--no-tui` and for screen readers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from configs.errors import ToolError
from runtime.arguments import read_prompt
from tui.chats.tree import STATES
from tui.commands import unescape
from tui.text import visible
from tui.words import words

if TYPE_CHECKING:
    from runtime.chat import ChatSession, Reply
    from tui.chats.keeper import ChatKeeper
    from tui.settings import ChatSettings, Load

_HELP = "/clear begins a new conversation, /quit or Ctrl+D ends, Ctrl+C stops a reply.\n"


def chat_plainly(settings: ChatSettings, load: Load, stdin: TextIO, stdout: TextIO, stderr: TextIO) -> int:
    """Answer what a pipe holds, or line by line what a person types; return the exit code.

    Raises:
        ConfigError: the pipe is empty or not UTF-8.
        ToolError: the model could not be loaded or could not reply.
    """
    from runtime.chat import ChatSession
    from tui.opening import open_keeper

    prompt = settings.prompt if settings.prompt is not None or stdin.isatty() else read_prompt(stdin)
    # What a script asks is its own to keep; what a person types is kept, like on the screen.
    kept = prompt is None or settings.resume is not None
    keeper = open_keeper(settings) if kept else None
    _reconfigure(stdout)
    stderr.write(f"loading {settings.model_label} ...\n")
    stderr.flush()
    try:
        engine = load(lambda fraction: True)
        try:
            stderr.writelines(f"{visible(note)}\n" for note in engine.notes)
            talk = PlainTalk(ChatSession(engine, system=settings.system, sampling=settings.sampling), keeper)
            if prompt is None:
                converse(talk, stdin, stdout, stderr)
            else:
                talk.say(prompt, stdout, stderr)
        finally:
            engine.close()
    finally:
        if keeper is not None:
            keeper.close()
    return 0


class PlainTalk:
    """A session, and the record of it where one is kept."""

    def __init__(self, session: ChatSession, keeper: ChatKeeper | None) -> None:
        self._session = session
        self._keeper = keeper
        if keeper is not None:
            session.history, session.system, session.sampling = keeper.history(), keeper.system, keeper.sampling

    def reset(self) -> None:
        """Begin a new chat."""
        self._session.reset()
        if self._keeper is not None:
            self._keeper.new()

    def say(self, text: str, stdout: TextIO, stderr: TextIO, *, stoppable: bool = False) -> None:
        """Ask, write the reply as it comes, and its figures on `stderr`.

        Args:
            stoppable: Ctrl+C ends the reply, not the program.

        Raises:
            ToolError: the message does not fit, or the engine failed.
        """
        keeper = self._keeper
        if keeper is not None:
            keeper.ask(text)
        try:
            reply = self._session.ask(text)
            ended = write_reply(reply, stdout, stderr, stoppable=stoppable, grow=keeper.grow if keeper else None)
        except ToolError as error:
            if keeper is not None:
                keeper.settle("failed", str(error))
            raise
        if keeper is not None:
            keeper.grow(reply.text)
            keeper.settle(STATES.get(ended, "done"), str(reply.tokens) if ended == "length" else "")
            if keeper.trouble:
                stderr.write(f"{words().not_saved.format(reason=keeper.trouble)}\n")


def converse(talk: PlainTalk, stdin: TextIO, stdout: TextIO, stderr: TextIO) -> None:
    """Answer line by line until the input ends."""
    stderr.write(_HELP)
    while True:
        stderr.write("> ")
        stderr.flush()
        line = stdin.readline()
        if not line or line.strip() == "/quit":
            break
        if line.strip() in ("/clear", "/new"):
            talk.reset()
            stderr.write("A new conversation.\n")
        elif line.strip():
            try:
                talk.say(unescape(line.strip()), stdout, stderr, stoppable=True)
            except ToolError as error:
                stderr.write(f"error: {visible(str(error))}\n")
    stderr.write("\n" if not line else "")


def write_reply(
    reply: Reply, stdout: TextIO, stderr: TextIO, *, stoppable: bool, grow: Callable[[str], None] | None
) -> str:
    """Write a reply as it comes, and its figures on `stderr`; returns how it ended.

    Args:
        stoppable: Ctrl+C ends the reply, not the program.
        grow: told again and again what there is of the reply.
    """
    if reply.dropped_turns:
        stderr.write(f"({reply.dropped_turns} oldest turns no longer fit the context)\n")
    try:
        for piece in reply:
            stdout.write(visible(piece))
            stdout.flush()
            if grow is not None:
                grow(reply.text)
        ended: str = reply.finish
    except KeyboardInterrupt:
        if not stoppable:
            raise
        ended = "cancelled"
    stdout.write("\n")
    stdout.flush()
    stderr.write(f"{_figures(reply, ended)}\n")
    return ended


def _figures(reply: Reply, ended: str) -> str:
    speed = f", {reply.tokens / reply.seconds:.1f} tokens/s" if reply.seconds > 0 else ""
    why = {"length": ", cut at --max-tokens", "cancelled": ", stopped"}.get(ended, "")
    return f"[{reply.prompt_tokens} + {reply.tokens} tokens{speed}{why}]"


def _reconfigure(stdout: TextIO) -> None:
    """Let a terminal of another encoding show what it can instead of failing at the first 你."""
    if hasattr(stdout, "reconfigure"):
        stdout.reconfigure(errors="replace")
