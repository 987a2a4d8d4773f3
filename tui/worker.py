"""The thread that drives the model: it takes jobs from a queue and only posts messages.

It is a daemon thread of its own, not a Textual worker: Textual's pool is joined at exit, so one
long call into llama.cpp would keep the person waiting after Ctrl+Q.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from configs.errors import ToolError
from tui.messages import (
    LoadFailed,
    LoadGivenUp,
    LoadProgress,
    ModelReady,
    ReplyEnded,
    ReplyFailed,
    ReplyFigures,
    ReplyStarted,
    ReplyText,
)

if TYPE_CHECKING:
    from runtime.chat import ChatSession, Reply
    from runtime.engine import Engine, Sampling
    from tui.settings import Load

logger = logging.getLogger(__name__)

Post = Callable[[Message], object]
Job = Callable[[], None]


class Turn:
    """One question on its way to an answer; `stop` works before, during and after it."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self.text = text
        self._reply: Reply | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the reply, from any thread."""
        self._stopped.set()
        if (reply := self._reply) is not None:
            reply.stop()

    def begin(self, reply: Reply) -> None:
        """Take the reply; one that was stopped before it began ends at once."""
        self._reply = reply
        if self._stopped.is_set():
            reply.stop()


class ChatWorker:
    """Loads the model and holds one conversation with it, away from the screen's thread.

    Methods return at once, and outcomes arrive as messages through `post`.
    """

    def __init__(self, load: Load, *, system: str | None, sampling: Sampling) -> None:
        self._load_engine = load
        self._system = system
        self._sampling = sampling
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="chat-worker", daemon=True)
        self._give_up = threading.Event()
        self._turn: Turn | None = None
        self._engine: Engine | None = None
        self._session: ChatSession | None = None
        self._post: Post = lambda message: None

    def start(self, post: Post) -> None:
        """Begin with loading the model."""
        self._post = post
        self.load()
        self._thread.start()

    def load(self) -> None:
        """Load the model (again, after it was given up)."""
        self._give_up.clear()
        self._jobs.put(self._load)

    def give_up_load(self) -> None:
        """End loading; `LoadGivenUp` follows."""
        self._give_up.set()

    def ask(self, number: int, text: str) -> None:
        """Send a message; one that comes while the model loads is answered after."""
        turn = self._turn = Turn(number, text)
        self._jobs.put(lambda: self._answer(turn))

    def stop(self) -> None:
        """End the reply that is running or waiting."""
        if self._turn is not None:
            self._turn.stop()

    def new_conversation(self) -> None:
        """Forget what was said."""
        self.stop()
        self._jobs.put(self._reset)

    def close(self, timeout_s: float) -> bool:
        """End everything; say whether the thread was gone within the time."""
        self.give_up_load()
        self.stop()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        if self._engine is not None:
            self._engine.close()

    def _load(self) -> None:
        try:
            self._engine = self._load_engine(self._report_load)
            self._session = self._new_session(self._engine)
        except Exception as error:  # noqa: BLE001  the edge of the thread: the screen decides
            given_up = self._give_up.is_set()
            self._post(LoadGivenUp() if given_up else LoadFailed(error))
        else:
            self._post(ModelReady(self._engine.context_size, self._engine.notes))

    def _report_load(self, fraction: float) -> bool:
        self._post(LoadProgress(fraction))
        return not self._give_up.is_set()

    def _new_session(self, engine: Engine) -> ChatSession:
        from runtime.chat import ChatSession

        return ChatSession(engine, system=self._system, sampling=self._sampling)

    def _reset(self) -> None:
        if self._session is not None:
            self._session.reset()

    def _answer(self, turn: Turn) -> None:
        if self._session is None:  # loading was given up: the screen has taken the message back
            return
        try:
            self._stream(turn, self._session)
        except ToolError as error:
            self._post(ReplyFailed(turn.number, str(error)))
        except Exception as error:  # the edge of the thread: the chat goes on
            logger.exception("the reply failed")
            self._post(ReplyFailed(turn.number, f"unexpected {type(error).__name__}: {error}"))

    def _stream(self, turn: Turn, session: ChatSession) -> None:
        reply = session.ask(turn.text)
        turn.begin(reply)
        self._post(ReplyStarted(turn.number, session.context_used, reply.dropped_turns))
        for piece in reply:
            self._post(ReplyText(turn.number, piece))
        self._post(ReplyEnded(turn.number, session.context_used, _figures(reply)))


def _figures(reply: Reply) -> ReplyFigures:
    return ReplyFigures(
        finish=reply.finish,
        tokens=reply.tokens,
        seconds=reply.seconds,
        prompt_tokens=reply.prompt_tokens,
        prompt_seconds=reply.prompt_seconds,
    )
