"""A conversation over an engine: history, context budget, streaming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from configs.errors import ToolError
from configs.prompt import Message, encode
from runtime.interface import Engine, Finish, Sampling, Stream

# After an overflow the prompt shrinks to this part of its budget, so that the next turns fit
# without dropping again and the engine can keep the beginning of the prompt it has evaluated.
_ROOM_AFTER_DROP = 0.75

_DEFAULT_SAMPLING = Sampling()


class Reply:
    """The assistant's answer on its way: iterate it once, for text in whole characters."""

    def __init__(self, stream: Stream, session: ChatSession, asked: str, dropped_turns: int) -> None:
        self.asked = asked
        """The message this answers."""
        self.text = ""
        """What has arrived so far."""
        self.dropped_turns = dropped_turns
        """How many of the conversation's oldest turns were left out of this prompt."""
        self._stream = stream
        self._session = session

    def __iter__(self) -> Iterator[str]:
        try:
            for piece in self._stream:
                shown = piece if self.text else piece.lstrip()
                self.text += shown
                if shown:
                    yield shown
        finally:
            self._stream.cancel()
            self._session._settle(self)

    def stop(self) -> None:
        """End the reply; what has arrived stays in the history. Thread-safe, returns at once."""
        self._stream.cancel()

    @property
    def finish(self) -> Finish:
        return self._stream.finish

    @property
    def prompt_tokens(self) -> int:
        return self._stream.prompt_tokens

    @property
    def tokens(self) -> int:
        return self._stream.tokens

    @property
    def prompt_seconds(self) -> float:
        return self._stream.prompt_seconds

    @property
    def seconds(self) -> float:
        return self._stream.seconds


class ChatSession:
    """Keeps the messages of one conversation and asks the engine for the next.

    `history` holds finished turns, user and assistant in alternation, without the system text. A
    caller may replace it (to edit, retry or restore a chat). A turn whose reply was stopped before
    its first character leaves no trace in it.

    What happens when the context is full: the oldest turns are left out of the prompt, whole turns at a time, never
    the system text and never the new message; `will_drop` says beforehand how many. They stay in `history`. A message
    that does not fit by itself is refused.

    Args:
        system: None takes the prompt format's own system text.
    """

    def __init__(self, engine: Engine, *, system: str | None = None, sampling: Sampling = _DEFAULT_SAMPLING) -> None:
        self.history: list[Message] = []
        self.sampling = sampling
        self.system = system
        self.context_used = 0
        """Tokens of the last prompt and its reply."""
        self._engine = engine
        self._dropped = 0
        self._reply: Reply | None = None

    def ask(self, text: str) -> Reply:
        """Send the next message.

        Raises:
            ToolError: this message alone is longer than the context, or a reply is still running.
        """
        if self._reply is not None:
            raise ToolError("the last reply has not ended", hint="read it to its end, or stop it and read on")
        self._dropped, prompt_ids = self._fit(text)
        room = self._engine.context_size - len(prompt_ids)
        stream = self._engine.submit(prompt_ids, self._sampling_for(room))
        self.context_used = len(prompt_ids)
        self._reply = Reply(stream, self, text, self._dropped)
        return self._reply

    def will_drop(self, text: str) -> int:
        """How many more of the oldest turns `ask(text)` would leave out; 0 if it fits beside what is seen now.

        Raises:
            ToolError: this message alone is longer than the context.
        """
        first, _ = self._fit(text)
        return first - self._seen_from()

    def reset(self) -> None:
        """Forget the conversation."""
        if self._reply is not None:
            self._reply.stop()
            self._reply = None
        self.history = []
        self.context_used = 0
        self._dropped = 0

    def _settle(self, reply: Reply) -> None:
        """Put the turn that just ended into the history, unless the conversation was reset meanwhile."""
        if self._reply is not reply:
            return
        self.context_used += reply.tokens
        self._reply = None
        if reply.text.strip():
            self.history.append({"role": "user", "content": reply.asked})
            self.history.append({"role": "assistant", "content": reply.text.strip()})

    def _sampling_for(self, room: int) -> Sampling:
        stops = tuple(dict.fromkeys((*self._engine.formats.prompt.stops, *self.sampling.stop)))
        return replace(self.sampling, max_tokens=min(self.sampling.max_tokens, room), stop=stops)

    def _prompt_ids(self, first_turn: int, text: str) -> list[int]:
        head: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        messages = [*head, *self.history[2 * first_turn :], {"role": "user", "content": text}]
        return encode(self._engine.formats.prompt.prompt(messages), self._engine.tokenizer)

    def _seen_from(self) -> int:
        """The first turn that the last prompt held."""
        return min(self._dropped, len(self.history) // 2)

    def _fit(self, text: str) -> tuple[int, list[int]]:
        """(first turn, ids) of the prompt that leaves out as many of the oldest turns as it takes to fit."""
        size = self._engine.context_size
        budget = size - min(self.sampling.max_tokens, size // 4)
        turns = len(self.history) // 2
        first = self._seen_from()
        ids = self._prompt_ids(first, text)
        wanted = budget if len(ids) <= budget else int(budget * _ROOM_AFTER_DROP)
        while len(ids) > wanted and first < turns:
            first += 1
            ids = self._prompt_ids(first, text)
        if len(ids) >= size:
            raise ToolError(
                f"this message takes {len(ids)} tokens, the context holds {size}",
                hint="shorten it or load the model with a larger --ctx-size",
            )
        return first, ids
