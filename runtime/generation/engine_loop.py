"""Prompts through an engine, several at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from configs.errors import ToolError
from configs.prompt import Message, encode
from runtime.generation.replies import Generated, row_seed
from runtime.interface import Engine, Sampling

_FAILURES_IN_A_ROW = 3
"""One record may have something that the engine chokes on; several after each other mean that it is at its end."""


@dataclass(slots=True)
class Generator:
    """Writes replies with one engine.

    Args:
        sampling: `seed` is the run's; every record gets its own from it.
        parallel: replies that are written at once.
        grammar: GBNF that every reply follows; empty for none.
    """

    engine: Engine
    sampling: Sampling
    parallel: int = 1
    grammar: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    """Key -> why the record cannot be answered: it is too long, or the template refuses it."""
    failed: dict[str, str] = field(default_factory=dict)
    """Key -> what the engine said: records that another run may well answer."""

    def prepare(self, prompts: Mapping[str, list[Message]]) -> dict[str, list[int]]:
        """Ids of the prompts that fit the context, and room for the longest of them and its reply.

        Of all prompts, those that are answered already too: what is left then finds the context it always had.
        """
        ids = self._encode(prompts)
        if ids:
            longest = max(map(len, ids.values())) + self.sampling.max_tokens
            self.engine.reserve(min(self.engine.context_limit, longest))
        return ids

    def replies(
        self, prompts: Mapping[str, list[Message]], ids: Mapping[str, list[int]]
    ) -> Iterator[tuple[str, Generated]]:
        """Answer every prompt of `ids`; the replies come as they are finished.

        Raises:
            ConfigError: the grammar cannot be read.
            ToolError: the engine fails at every record.
        """
        waiting = iter(ids)
        failures = 0
        pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="reply")
        running: dict[Future[Generated], str] = {}
        try:
            while True:
                for key in waiting:
                    running[pool.submit(self._reply, ids[key], prompts[key])] = key
                    if len(running) == self.parallel:
                        break
                if not running:
                    return
                for done in _first(running):
                    key = running.pop(done)
                    try:
                        reply = done.result()
                    except ToolError as error:
                        failures += 1
                        if failures == _FAILURES_IN_A_ROW or error.exit_code != ToolError.exit_code:
                            raise
                        self.failed[key] = str(error)
                        continue
                    failures = 0
                    yield key, reply
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _encode(self, prompts: Mapping[str, list[Message]]) -> dict[str, list[int]]:
        """The prompts that fit the context."""
        found = {}
        for key, messages in prompts.items():
            try:
                ids = encode(self.engine.formats.prompt.prompt(messages), self.engine.tokenizer)
            except ToolError as error:
                self.errors[key] = str(error)
                continue
            if len(ids) < self.engine.context_limit:
                found[key] = ids
            else:
                self.errors[key] = f"{len(ids)} tokens leave no room in the context of {self.engine.context_limit}"
        return found

    def _reply(self, ids: list[int], messages: list[Message]) -> Generated:
        assert self.sampling.seed is not None
        room = self.engine.context_size - len(ids)
        sampling = replace(
            self.sampling,
            seed=row_seed(self.sampling.seed, messages),
            max_tokens=min(self.sampling.max_tokens, room),
            stop=tuple(dict.fromkeys((*self.engine.formats.prompt.stops, *self.sampling.stop))),
        )
        stream = self.engine.submit(ids, sampling, grammar=self.grammar or None)
        text = "".join(stream).strip()
        if stream.finish == "cancelled":
            raise ToolError("the engine was closed")
        return Generated(text, stream.finish, stream.prompt_tokens, stream.tokens)


def _first(running: Mapping[Future[Generated], str]) -> list[Future[Generated]]:
    """Those that are done, once one is."""
    while True:
        # In turns: Ctrl-C cannot end an endless wait on Windows.
        done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
        if done:
            return [future for future in running if future in done]
