"""Questions through an engine: the loop that `predict` runs here, and that a worker runs on another machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from configs.errors import ToolError
from configs.exam import Question
from runtime.answering import Asker
from runtime.buckets import Bucket
from runtime.debias import RowDebias
from runtime.interface import Engine, ScoreRequest
from runtime.results import Result
from runtime.tree import packs

_FAILURES_IN_A_ROW = 3
"""One row may have something that the engine chokes on; several after each other mean that the engine is at its end."""


@dataclass(slots=True)
class BucketScorer:
    """Scores buckets of questions with one engine.

    Raises:
        ToolError: while iterating: the engine fails at every row.
    """

    engine: Engine
    asker: Asker
    debias: Mapping[str, RowDebias]
    """Key -> in which orders to ask; decided by the whole sheet (`plan_orders`)."""
    failed: dict[str, str] = field(default_factory=dict)
    """Key -> what the engine said: rows that another run may well compute."""
    _failures: int = 0

    def reserve(self, buckets: Sequence[Bucket], done: Mapping[str, Result]) -> dict[str, str]:
        """Make the context large enough for what is not done; returns key -> reason of the rows that are too long."""
        too_long: dict[str, str] = {}
        longest = 0
        for bucket in buckets:
            for key, question in bucket.items():
                if key in done:
                    continue
                length = max(request.length for request in self.asker.requests(question, self.debias[key]))
                if length > self.engine.context_limit:
                    too_long[key] = self._too_long(question, length)
                else:
                    longest = max(longest, length)
        if longest:
            self.engine.reserve(longest)
        return too_long

    def score(self, bucket: Bucket, done: Mapping[str, Result]) -> Iterator[tuple[str, Result]]:
        """Compute what is not done of a bucket, in packs that do not depend on what is."""
        if all(key in done for key in bucket):
            return
        asked = {key: requests for key, question in bucket.items() if (requests := self._fitting(key, question))}
        keys, rows = list(asked), list(asked.values())
        for pack in packs(rows, self.engine.pack_tokens):
            missing = {keys[index] for index in pack} - done.keys()
            if missing:
                results = self._pack([rows[index] for index in pack], missing)
                yield from ((keys[index], result) for index, result in zip(pack, results) if keys[index] in missing)

    def _pack(self, rows: Sequence[Sequence[ScoreRequest]], missing: Iterable[str]) -> list[Result]:
        """Results of a pack's rows; none of them where the engine failed."""
        try:
            scores = iter(self.engine.score([request for requests in rows for request in requests]))
        except ToolError as error:
            self._failures += 1
            if self._failures >= _FAILURES_IN_A_ROW:
                raise
            self.failed.update(dict.fromkeys(missing, f"the engine failed: {error}"))
            return []
        self._failures = 0
        return [Result(tuple(tuple(next(scores)) for _ in requests), len(requests[0].prompt)) for requests in rows]

    def _fitting(self, key: str, question: Question) -> tuple[ScoreRequest, ...]:
        requests = self.asker.requests(question, self.debias[key])
        return requests if max(request.length for request in requests) <= self.engine.context_limit else ()

    def _too_long(self, question: Question, length: int) -> str:
        fields = {"passage": question.passage, "question": question.question}
        fields |= {f"option {place}": text for place, text in enumerate(question.choices, 1)}
        counts = {name: len(self.engine.tokenizer.plain(text)) for name, text in fields.items()}
        largest = max(counts, key=lambda name: counts[name])
        return (
            f"{length} tokens, longer than the context of {self.engine.context_limit}; "
            f"{counts[largest]} of them are the {largest}"
        )
