"""Questions through an engine: the loop that `predict` runs here, and that a worker runs on another machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from configs.errors import ToolError
from configs.exam import Question
from runtime.answering import Asker
from runtime.buckets import Bucket, shared_passages
from runtime.debias import RowDebias
from runtime.interface import Engine, ScoreRequest
from runtime.results import Result
from runtime.tree import packs

_READY_TOKENS = 1 << 21
"""Of prompts that are kept from measuring them to scoring them: some 10 MB."""
_FAILURES_IN_A_ROW = 3
"""One row may have something that the engine chokes on; several after each other mean that the engine is at its end."""


class Scorer(Protocol):
    """Something that computes buckets of questions: an engine here, or many elsewhere."""

    too_long: dict[str, str]
    """Key -> why the question does not fit; grows while questions are scored."""
    failed: dict[str, str]
    """Key -> what the engine said of a question that another run may well compute; grows likewise."""

    def score(self, buckets: Sequence[Bucket], done: Collection[str]) -> Iterator[tuple[str, Result]]:
        """Compute every question but those that are done; `done` may grow meanwhile.

        Raises:
            ToolError: nothing can be computed any more.
        """
        ...


class EngineScorer:
    """Scores with one engine, in packs that do not depend on what is done.

    Args:
        debias: key -> in which orders to ask; decided by the whole sheet (`plan_orders`).
        on_measure: called with 0..1 while the questions are measured; returning False gives up.
    """

    def __init__(
        self,
        engine: Engine,
        asker: Asker,
        debias: Mapping[str, RowDebias],
        on_measure: Callable[[float], bool] = lambda share: True,
    ) -> None:
        self.too_long: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self._engine = engine
        self._asker = asker
        self._debias = debias
        self._on_measure = on_measure
        self._reserved = 0
        self._failures = 0
        self._ready: dict[str, tuple[ScoreRequest, ...]] = {}
        self._ready_tokens = 0

    def again(self, debias: Mapping[str, RowDebias]) -> EngineScorer:
        """The same for other questions, with accounts of its own; the engine keeps the room it has."""
        other = EngineScorer(self._engine, self._asker, debias, self._on_measure)
        other._reserved = self._reserved
        return other

    def score(self, buckets: Sequence[Bucket], done: Collection[str]) -> Iterator[tuple[str, Result]]:
        """See `Scorer.score`."""
        missing = [bucket for bucket in buckets if any(key not in done for key in bucket)]
        self._reserve(missing)
        for bucket in missing:
            yield from self._bucket(bucket, done)

    def _reserve(self, buckets: Sequence[Bucket]) -> None:
        """Make the context large enough, and find the questions that no context is large enough for.

        Of a large sheet most requests are thrown away and made again bucket by bucket: all would take a gigabyte.
        """
        longest = number = 0
        total = sum(map(len, buckets))
        for bucket in buckets:
            ask = self._asking(bucket)
            for key, question in bucket.items():
                if not self._on_measure(number / total):
                    raise ToolError("the run was given up")
                number += 1
                requests = ask(key)
                length = max(request.length for request in requests)
                if length > self._engine.context_limit:
                    self.too_long[key] = self._reason(question, length)
                    continue
                longest = max(longest, length)
                if self._ready_tokens < _READY_TOKENS:
                    self._ready[key] = requests
                    self._ready_tokens += sum(len(request.prompt) for request in requests)
        if longest > self._reserved:
            self._engine.reserve(longest)
            self._reserved = longest

    def _asking(self, bucket: Bucket) -> Callable[[str], tuple[ScoreRequest, ...]]:
        """What makes the requests of a bucket's questions, by key: which passages are shared depends on the bucket."""
        shared = shared_passages(bucket.values())
        return lambda key: self._asker.requests(bucket[key], self._debias[key], shared=bucket[key].passage in shared)

    def _bucket(self, bucket: Bucket, done: Collection[str]) -> Iterator[tuple[str, Result]]:
        keys = [key for key in bucket if key not in self.too_long]
        ask = self._asking(bucket)
        rows = [self._ready.pop(key, ()) or ask(key) for key in keys]
        for pack in packs(rows, self._engine.pack_tokens):
            missing = {keys[index] for index in pack if keys[index] not in done}
            if missing:
                results = self._pack([rows[index] for index in pack], missing)
                yield from ((keys[index], result) for index, result in zip(pack, results) if keys[index] in missing)

    def _pack(self, rows: Sequence[Sequence[ScoreRequest]], missing: Iterable[str]) -> list[Result]:
        """Results of a pack's rows; none of them where the engine failed."""
        try:
            scores = iter(self._engine.score([request for requests in rows for request in requests]))
        except ToolError as error:
            self._failures += 1
            if self._failures >= _FAILURES_IN_A_ROW:
                raise
            self.failed.update(dict.fromkeys(missing, f"the engine failed: {error}"))
            return []
        self._failures = 0
        return [Result(tuple(tuple(next(scores)) for _ in requests), len(requests[0].prompt)) for requests in rows]

    def _reason(self, question: Question, length: int) -> str:
        fields = {"passage": question.passage, "question": question.question}
        fields |= {f"option {place}": text for place, text in enumerate(question.choices, 1)}
        counts = {name: len(self._engine.tokenizer.plain(text)) for name, text in fields.items()}
        largest = max(counts, key=lambda name: counts[name])
        return (
            f"{length} tokens, longer than the context of {self._engine.context_limit}; "
            f"{counts[largest]} of them are the {largest}"
        )
