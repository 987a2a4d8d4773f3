"""The order in which a sheet's questions are computed, and what is computed together.

A prompt is a path in a tree: the format's start, the passage, the question, the options. Questions that share a passage
stand together, whatever their places in the sheet, so that every stretch of the tree is evaluated once.

Passages are dealt into buckets by the hash of their text. A bucket is what a shard or a worker gets: it depends on the
sheet alone, never on how many machines there are or what is done already, and on an engine that packs several rows into
one call a pack never crosses it. So every machine computes a row in the same company, and gets the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from configs.exam import Question
from runtime.interface import ScoreRequest

MOST_SHARDS = 64
_BUCKET_ROWS = 64
"""Few enough that a lost worker's bucket is soon computed again, enough to fill packs from."""

Bucket = dict[str, Question]
"""Key -> question, in the order to compute them in."""


def bucket_count(questions: int) -> int:
    """How many buckets a sheet of so many distinct questions has: a power of two, at least `MOST_SHARDS`."""
    return int(max(MOST_SHARDS, 1 << max(0, questions // _BUCKET_ROWS).bit_length()))


def bucket_of(passage: str, count: int) -> int:
    """The bucket of a passage, counted from 0."""
    return int.from_bytes(hashlib.sha256(passage.encode("utf-8", "surrogatepass")).digest()[:8]) % count


def in_buckets(questions: Mapping[str, Question], count: int) -> list[Bucket]:
    """The questions by bucket, none of them empty; those of one passage, and of one text, stand together."""
    passages, asked = _places(questions.values(), _passage), _places(questions.values(), _asked)
    buckets: dict[int, list[tuple[tuple[int, int], str]]] = {}
    for key, question in questions.items():
        place = passages[_passage(question)], asked[_asked(question)]
        buckets.setdefault(bucket_of(question.passage, count), []).append((place, key))
    by_place = [sorted(keys, key=lambda pair: pair[0]) for _, keys in sorted(buckets.items())]
    return [{key: questions[key] for _, key in keys} for keys in by_place]


def packs(asked: Mapping[str, Sequence[ScoreRequest]], tokens: int) -> list[list[str]]:
    """Keys of the rows to bring to one call of `Engine.score`, in order.

    Args:
        tokens: how many tokens a pack should have (`Engine.pack_tokens`); 0 puts every row by itself.
    """
    found: list[list[str]] = []
    room, last = 0, _NOTHING
    for key, requests in asked.items():
        if _tokens(requests, last) > room:
            found.append([])
            room, last = tokens, _NOTHING
        found[-1].append(key)
        room, last = room - _tokens(requests, last), requests[-1].prompt
    return found


_NOTHING: Sequence[int] = ()


def _tokens(requests: Sequence[ScoreRequest], last: Sequence[int]) -> int:
    """Tokens to evaluate for a row after the prompt `last`, whose start need not be evaluated again."""
    total = 0
    for request in requests:
        total += request.length - _common(last, request.prompt)
        last = request.prompt
    return total


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))


def _places(questions: Iterable[Question], name: Callable[[Question], Hashable]) -> dict[Hashable, int]:
    """Where each thing stands first."""
    places: dict[Hashable, int] = {}
    for question in questions:
        places.setdefault(name(question), len(places))
    return places


def _passage(question: Question) -> Hashable:
    return question.passage


def _asked(question: Question) -> Hashable:
    return question.passage, question.question
