"""What drives the model, in a thread of its own that only posts messages."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from configs.errors import ToolError
from tui.continuing import Request, continue_reply, messages_of
from tui.jobs import JobThread
from tui.messages import (
    AdaptersChanged,
    Forecast,
    LoadFailed,
    LoadGivenUp,
    LoadProgress,
    ModelReady,
    ModelSwitched,
    ReplyEnded,
    ReplyFailed,
    ReplyFigures,
    ReplyStarted,
    ReplyText,
    SwitchFailed,
)
from tui.settings import model_name

if TYPE_CHECKING:
    from runtime.chat import ChatSession, Reply
    from runtime.engine import Engine, Stream
    from tui.settings import Load, Models

logger = logging.getLogger(__name__)

# The screen draws ten frames a second: a message for every token of a quick model would only keep it busy.
_POST_EVERY_S = 0.05

Adapters = tuple[tuple[Path, float], ...]
Post = Callable[[Message], object]


class Turn:
    """One question on its way to an answer; `stop` works before, during and after it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._stop: Callable[[], None] | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the reply, from any thread."""
        self._stopped.set()
        if (stop := self._stop) is not None:
            stop()

    def begin(self, stop: Callable[[], None]) -> None:
        """The reply runs now; one that was stopped before it began ends at once."""
        self._stop = stop
        if self._stopped.is_set():
            stop()


class ChatWorker:
    """Loads the model and asks it, away from the screen's thread.

    Methods return at once, and outcomes arrive as messages through `post`. The worker remembers nothing of the
    conversation: every request brings its history.
    """

    def __init__(self, models: Models) -> None:
        self.adapters: Adapters = models.options.adapters
        """The LoRA files that are plugged in, with their weights."""
        self.model = models.options.model
        """The file of the model that answers."""
        self._models = models
        self._load_engine: Load = models.first
        self._jobs = JobThread("chat-worker", self._free)
        self._give_up = threading.Event()
        self._turn: Turn | None = None
        self._engine: Engine | None = None
        self._session: ChatSession | None = None
        self._last_history: list[dict[str, str]] = []
        self._post: Post = lambda message: None

    def start(self, post: Post) -> None:
        """Begin with loading the model."""
        self._post = post
        self.load()
        self._jobs.start()

    def load(self) -> None:
        """Load the model (again, after it was given up)."""
        self._give_up.clear()
        self._jobs.put(self._load)

    def give_up_load(self) -> None:
        """End loading; `LoadGivenUp` follows."""
        self._give_up.set()

    def switch(self, path: Path) -> None:
        """Let another model answer from here on; `ModelSwitched` or `SwitchFailed` follows."""
        self._give_up.clear()
        self._jobs.put(lambda: self._switch(path))

    def ask(self, request: Request) -> None:
        """Send a message; one that comes while the model loads is answered after."""
        turn = self._turn = Turn(request)
        self._jobs.put(lambda: self._answer(turn))

    def plug(self, adapters: Adapters) -> None:
        """Plug in exactly these adapters; `AdaptersChanged` follows."""
        self._jobs.put(lambda: self._plug(adapters))

    def measure(self, request: Request) -> None:
        """Say what a message would do to the context, if it were sent; `Forecast` follows."""
        self._jobs.put(lambda: self._measure(request))

    def stop(self) -> None:
        """End the reply that is running or waiting."""
        if self._turn is not None:
            self._turn.stop()

    def close(self, timeout_s: float) -> bool:
        """End everything; say whether the thread was gone within the time."""
        self.give_up_load()
        self.stop()
        return self._jobs.close(timeout_s)

    def _free(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _load(self) -> None:
        try:
            self._load_or_raise()
        except Exception as error:  # noqa: BLE001  the edge of the thread: the screen decides
            given_up = self._give_up.is_set()
            self._post(LoadGivenUp() if given_up else LoadFailed(error))
        else:
            assert self._engine is not None
            self._post(ModelReady(self._engine.context_size, self._engine.notes, self._engine.formats.prompt))

    def _load_or_raise(self) -> None:
        from runtime.chat import ChatSession

        self._engine = self._load_engine(self._report_load)
        self._session = ChatSession(self._engine)
        self._last_history = []

    def _switch(self, path: Path) -> None:
        """Load another model; the one that answers now stays until that has gone well, where the memory holds both."""
        before, before_loads = self._engine, self._load_engine
        try:
            load = self._models.other(path)
            if before is not None and not self._models.fit_together(self.model, path):
                self._engine = self._session = None
                before.close()
            self._load_engine = load
            self._load_or_raise()
        except Exception as error:  # noqa: BLE001  the edge of the thread: the screen decides
            self._load_engine = before_loads
            self._go_back(before is not None, "" if self._give_up.is_set() else str(error))
            return
        if before is not None and before is not self._engine:
            before.close()
        lost = bool(self.adapters)
        self.model, self.adapters = path, ()
        engine = self._engine
        assert engine is not None
        label = model_name(path)
        self._post(ModelSwitched(label, engine.context_size, engine.notes, engine.formats.prompt, lost))

    def _go_back(self, had_engine: bool, reason: str) -> None:
        """Say so, when the old model has been loaded again where it had to make room."""
        if self._engine is None and had_engine:
            self._give_up.clear()
            with contextlib.suppress(Exception):  # the next message loads it, or says what is wrong
                self._load_or_raise()
                self._plug_again()
        self._post(SwitchFailed(reason, loaded=self._engine is not None))

    def _plug_again(self) -> None:
        """What was plugged in while one chatted is not what the command line named."""
        if self._engine is not None:
            self._engine.set_adapters(self.adapters)

    def _report_load(self, fraction: float) -> bool:
        self._post(LoadProgress(fraction))
        return not self._give_up.is_set()

    def _answer(self, turn: Turn) -> None:
        if self._engine is None or self._session is None:  # loading was given up: the screen has taken the message back
            return
        try:
            if turn.request.begun:
                self._go_on(turn, self._engine)
            else:
                self._reply(turn, self._session)
        except ToolError as error:
            self._post(ReplyFailed(turn.request.number, str(error)))
        except Exception as error:  # the edge of the thread: the chat goes on
            logger.exception("the reply failed")
            self._post(ReplyFailed(turn.request.number, f"unexpected {type(error).__name__}: {error}"))

    def _reply(self, turn: Turn, session: ChatSession) -> None:
        request = turn.request
        self._prepare(session, request)
        reply = session.ask(request.text)
        turn.begin(reply.stop)
        self._stream(request.number, session.context_used, reply.dropped_turns, reply, reply)

    def _prepare(self, session: ChatSession, request: Request) -> None:
        """Give the session the conversation it is to go on with."""
        history = list(request.history)
        if history[: len(self._last_history)] != self._last_history:
            session.reset()  # another branch or chat: what was left out of the last one says nothing about this one
        self._last_history = history
        session.history, session.system, session.sampling = list(history), request.system, request.sampling

    def _plug(self, adapters: Adapters) -> None:
        if self._engine is None:
            return
        try:
            notes = self._engine.set_adapters(adapters)
            self.adapters = adapters
        except (ToolError, OSError) as error:
            notes = (str(error),)
        self._post(AdaptersChanged(notes, self._engine.formats.prompt))

    def _measure(self, request: Request) -> None:
        if self._engine is None or self._session is None:
            return
        from configs.prompt import encode

        ids = encode(self._engine.formats.prompt.prompt(messages_of(request)), self._engine.tokenizer)
        self._prepare(self._session, request)
        try:
            drops, sentence = self._session.will_drop(request.text), ""
        except ToolError as error:
            drops, sentence = 0, str(error)
        self._post(Forecast(request.number, len(ids), drops, sentence))

    def _go_on(self, turn: Turn, engine: Engine) -> None:
        stream, dropped = continue_reply(engine, turn.request)
        turn.begin(stream.cancel)
        self._stream(turn.request.number, stream.prompt_tokens, dropped, stream, stream)

    def _stream(self, number: int, used: int, dropped: int, pieces: Iterable[str], reply: Reply | Stream) -> None:
        self._post(ReplyStarted(number, used, dropped))
        held: list[str] = []
        posted_at = 0.0
        try:
            for piece in pieces:
                held.append(piece)
                if time.monotonic() - posted_at >= _POST_EVERY_S:
                    self._post(ReplyText(number, "".join(held), len(held)))
                    held.clear()
                    posted_at = time.monotonic()
        finally:
            if held:
                self._post(ReplyText(number, "".join(held), len(held)))
        self._post(ReplyEnded(number, used + reply.tokens, _figures(reply)))


def _figures(reply: Reply | Stream) -> ReplyFigures:
    return ReplyFigures(
        finish=reply.finish,
        tokens=reply.tokens,
        seconds=reply.seconds,
        prompt_tokens=reply.prompt_tokens,
        prompt_seconds=reply.prompt_seconds,
    )
