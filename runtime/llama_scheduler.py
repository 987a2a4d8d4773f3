"""Which replies are evaluated next: several sequences advance together, one small batch at a time.

Every step evaluates one batch: the last token of every reply that is being written, and a piece of the oldest prompt
that still waits. So a long prompt never holds the others up for longer than one small batch takes, and on weights that
are read once for all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from configs.errors import ToolError
from runtime.interface import Finish
from runtime.llama_cells import CacheFullError, GenerationContext, Part
from runtime.llama_context import AbortedError
from runtime.llama_reply import Reply
from runtime.llama_slots import BLOCK

CHUNK = 32
"""Tokens of a prompt that are evaluated at once while other replies are being written."""


class Scheduler:
    """Replies waiting and running on one context. Everything here happens in the engine's thread.

    Args:
        context: makes or gives the context; called when replies are admitted and nothing runs, so that it may change.
        parallel: the most replies that run at once; the others wait in line.
    """

    def __init__(self, context: Callable[[], GenerationContext], parallel: int) -> None:
        self.running: list[Reply] = []
        """In the order of their submission."""
        self.waiting: deque[Reply] = deque()
        self._context_maker = context
        self._context: GenerationContext | None = None
        self._parallel = parallel
        self._prefilling: Reply | None = None

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    def submit(self, reply: Reply) -> None:
        self.waiting.append(reply)

    @property
    def aborted(self) -> bool:
        """Whether the batch being evaluated is in vain: the prompt that fills most of it was cancelled, or all were."""
        reply = self._prefilling
        if reply is not None and reply.cancelled:
            return True
        return bool(self.running) and all(reply.cancelled for reply in self.running)

    def step(self) -> None:
        """End what was cancelled, admit what fits, evaluate one batch and draw from it."""
        self._reap()
        try:
            self._admit()
            if self.running:
                self._advance()
        except AbortedError:
            return  # the next step reaps who was cancelled
        except Exception as error:  # noqa: BLE001  the thread must outlive every failure
            self._fail_all(error)

    def end_all(self) -> None:
        """End everything as cancelled."""
        for reply in [*self.running, *self.waiting]:
            self._end(reply, "cancelled")
        self.waiting.clear()

    def _reap(self) -> None:
        for reply in [reply for reply in self.waiting if reply.cancelled]:
            self.waiting.remove(reply)
            self._end(reply, "cancelled")
        for reply in [reply for reply in self.running if reply.cancelled]:
            slot = reply.slot
            self._end(reply, "cancelled")
            # Where others could use the cells they get them now; alone, a chat's next turn will want its prompt again.
            if slot is not None and self._context is not None and not self.idle:
                self._context.forget(slot)

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self._parallel:
            if not self.running:
                self._context = self._context_maker()
            assert self._context is not None
            reply = self.waiting[0]
            if self.running and not self._has_room(reply):
                return
            self.waiting.popleft()
            if len(reply.ids) > self._context.size:
                self._fail(reply, ToolError(f"the context holds {self._context.size} tokens only by now"))
                continue
            reply.start()
            alone = not self.running
            self.running.append(reply)  # before anything can fail: who runs is told of failures
            reply.slot = self._context.take(reply.ids, exact=reply.exact and alone)

    def _has_room(self, reply: Reply) -> bool:
        """Whether it fits beside the running ones, with some room for all to grow, so that nobody makes way soon."""
        assert self._context is not None
        grown = sum(len(each.ids) + CHUNK for each in [*self.running, reply])
        return grown <= self._context.cells and len(reply.ids) <= self._context.size

    def _advance(self) -> None:
        chosen, parts = self._fitting()
        for reply, part, index in zip(chosen, parts, self._evaluate(parts), strict=False):
            if part.output:
                self._draw(reply, index)

    def _fitting(self) -> tuple[list[Reply], list[Part]]:
        """What to evaluate now. Where the cells do not suffice the newest replies go back to the line."""
        context = self._context
        assert context is not None
        while True:
            chosen = self._plan()
            parts = [self._part(reply) for reply in chosen]
            if context.make_room(sum(len(part.tokens) for part in parts)) or len(self.running) == 1:
                return chosen, parts
            self._preempt()

    def _plan(self) -> list[Reply]:
        """Every reply that is being written, and the oldest prompt."""
        writing = [reply for reply in self.running if reply.generating]
        self._prefilling = next((reply for reply in self.running if not reply.generating), None)
        return [*writing, self._prefilling] if self._prefilling else writing

    def _part(self, reply: Reply) -> Part:
        slot = reply.slot
        assert slot is not None
        at = len(slot.tokens)
        most = CHUNK if any(other.generating for other in self.running) else BLOCK
        tokens = reply.ids[at : (at // most + 1) * most]
        return Part(slot, tokens, output=at + len(tokens) == len(reply.ids))

    def _preempt(self) -> None:
        """Send the newest reply back to the head of the line; what it wrote is evaluated again later."""
        reply = self.running.pop()
        assert reply.slot is not None
        assert self._context is not None
        self._context.release(reply.slot)
        self._context.forget(reply.slot)
        reply.slot = None
        self.waiting.appendleft(reply)

    def _evaluate(self, parts: list[Part]) -> list[int]:
        """Evaluate; empty if the cache was full after all and somebody had to make way."""
        assert self._context is not None
        try:
            return self._context.evaluate(parts)
        except CacheFullError:
            if self._context.forget_idle():
                return []
            if len(self.running) == 1:
                raise ToolError("there is no room in the key-value cache") from None
            self._preempt()
            return []

    def _draw(self, reply: Reply, index: int) -> None:
        context = self._context
        assert context is not None
        try:
            finish = reply.draw(context.logits(index), context.size - len(reply.ids))
        except ToolError as error:
            self._fail(reply, error)
            return
        if finish:
            self._end(reply, finish)

    def _fail_all(self, error: Exception) -> None:
        """The context failed: everybody who was on it, or who would have been the first, gets the error."""
        for reply in list(self.running) or [self.waiting.popleft() for _ in range(min(1, len(self.waiting)))]:
            if reply.slot is not None and self._context is not None:
                self._context.forget(reply.slot)
            self._fail(reply, error)

    def _fail(self, reply: Reply, error: Exception) -> None:
        self._release(reply)
        reply.fail(error)

    def _end(self, reply: Reply, finish: Finish) -> None:
        self._release(reply)
        reply.end(finish)

    def _release(self, reply: Reply) -> None:
        if reply in self.running:
            self.running.remove(reply)
        if reply is self._prefilling:
            self._prefilling = None
        if reply.slot is not None and self._context is not None:
            self._context.release(reply.slot)
            reply.slot = None
