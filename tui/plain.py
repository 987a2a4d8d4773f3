"""The chat without a screen: text in, text out, nothing for a terminal to interpret.

For pipes, for TERM=dumb, for `--no-tui` and for screen readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from configs.errors import ToolError
from runtime.arguments import read_prompt
from tui.text import visible

if TYPE_CHECKING:
    from runtime.chat import ChatSession, Reply
    from tui.settings import ChatSettings, Load

_HELP = "/clear begins a new conversation, /quit or Ctrl+D ends, Ctrl+C stops a reply.\n"


def chat_plainly(settings: ChatSettings, load: Load, stdin: TextIO, stdout: TextIO, stderr: TextIO) -> int:
    """Answer what a pipe holds, or line by line what a person types; return the exit code.

    Raises:
        ConfigError: the pipe is empty or not UTF-8.
        ToolError: the model could not be loaded or could not reply.
    """
    from runtime.chat import ChatSession

    prompt = None if stdin.isatty() else read_prompt(stdin)
    _reconfigure(stdout)
    stderr.write(f"loading {settings.model_label} ...\n")
    stderr.flush()
    engine = load(lambda fraction: True)
    try:
        stderr.writelines(f"{visible(note)}\n" for note in engine.notes)
        session = ChatSession(engine, system=settings.system, sampling=settings.sampling)
        if prompt is None:
            converse(session, stdin, stdout, stderr)
        else:
            say(session.ask(prompt), stdout, stderr)
    finally:
        engine.close()
    return 0


def converse(session: ChatSession, stdin: TextIO, stdout: TextIO, stderr: TextIO) -> None:
    """Answer line by line until the input ends."""
    stderr.write(_HELP)
    while True:
        stderr.write("> ")
        stderr.flush()
        line = stdin.readline()
        if not line or line.strip() == "/quit":
            break
        if line.strip() == "/clear":
            session.reset()
            stderr.write("A new conversation.\n")
        elif line.strip():
            try:
                say(session.ask(line.strip()), stdout, stderr, stoppable=True)
            except ToolError as error:
                stderr.write(f"error: {visible(str(error))}\n")
    stderr.write("\n" if not line else "")


def say(reply: Reply, stdout: TextIO, stderr: TextIO, *, stoppable: bool = False) -> None:
    """Write a reply as it comes, and its figures on `stderr`.

    Args:
        stoppable: Ctrl+C ends the reply, not the program.
    """
    if reply.dropped_turns:
        stderr.write(f"({reply.dropped_turns} oldest turns no longer fit the context)\n")
    try:
        for piece in reply:
            stdout.write(visible(piece))
            stdout.flush()
        ended = reply.finish
    except KeyboardInterrupt:
        if not stoppable:
            raise
        ended = "cancelled"
    stdout.write("\n")
    stdout.flush()
    stderr.write(f"{_figures(reply, ended)}\n")


def _figures(reply: Reply, ended: str) -> str:
    speed = f", {reply.tokens / reply.seconds:.1f} tokens/s" if reply.seconds > 0 else ""
    why = {"length": ", cut at --max-tokens", "cancelled": ", stopped"}.get(ended, "")
    return f"[{reply.prompt_tokens} + {reply.tokens} tokens{speed}{why}]"


def _reconfigure(stdout: TextIO) -> None:
    """Let a terminal of another encoding show what it can instead of failing at the first 你."""
    if hasattr(stdout, "reconfigure"):
        stdout.reconfigure(errors="replace")
