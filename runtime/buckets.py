"""A sheet's questions, dealt into buckets by the hash of their passage.

A bucket is what a shard or a worker gets. It depends on the sheet alone, never on how many machines there are or on
what is done already, and on an engine that packs several rows into one call a pack never crosses it. So every machine
computes a row in the same company, and gets the same bits; and questions that share a passage are never apart.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

from configs.exam import Question

MOST_SHARDS = 64
_ROWS = 64
"""Few enough that a lost worker's bucket is soon computed again, enough to fill packs from."""

Bucket = dict[str, Question]
"""Key -> question, those of one passage after each other."""


def bucket_count(questions: int) -> int:
    """How many buckets a sheet of so many distinct questions has: a power of two, at least `MOST_SHARDS`."""
    return int(max(MOST_SHARDS, 1 << (questions // _ROWS).bit_length()))


def bucket_of(passage: str, count: int) -> int:
    """The bucket of a passage, counted from 0."""
    return int.from_bytes(hashlib.sha256(passage.encode("utf-8", "surrogatepass")).digest()[:8]) % count


def in_buckets(questions: Mapping[str, Question], count: int) -> list[Bucket]:
    """The questions by bucket, none of them empty."""
    passages: dict[str, dict[str, Bucket]] = {}
    for key, question in questions.items():
        texts = passages.setdefault(question.passage, {})
        texts.setdefault(question.question, {})[key] = question
    buckets: list[Bucket] = [{} for _ in range(count)]
    for passage, texts in passages.items():
        for same in texts.values():
            buckets[bucket_of(passage, count)].update(same)
    return [bucket for bucket in buckets if bucket]


def shared_passages(questions: Iterable[Question]) -> frozenset[str]:
    """The passages about which several different things are asked.

    A bucket says the same of its passages as the whole sheet does.
    """
    asked = {(question.passage, question.question, question.choices) for question in questions}
    counts = Counter(passage for passage, *_ in asked)
    return frozenset(passage for passage, count in counts.items() if count > 1)
