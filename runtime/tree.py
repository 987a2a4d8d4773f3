"""In which order questions are scored, and which are scored together: so that no common start is evaluated twice."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise

from runtime.interface import ScoreRequest

Asked = tuple[ScoreRequest, ...]
"""What is asked about one question: a request for each order of its options."""

_PACK_REQUESTS = 32


def tree_order(asked: Sequence[Asked]) -> list[int]:
    """Indices of the questions, those with a common start one after the other, at every cut; else as they came."""
    first_seen: dict[bytes, int] = {}
    places = []
    for index, requests in enumerate(asked):
        request = requests[0]
        path = (_bytes(request.prompt[:cut]) for cut in request.cuts)
        places.append((*(first_seen.setdefault(start, index) for start in path), index))
    return sorted(range(len(asked)), key=lambda index: places[index])


def packs(asked: Sequence[Asked], pack_tokens: int) -> list[list[int]]:
    """Consecutive groups of `tree_order`, each to be scored in one call.

    A pack's bits depend on what is in it. So packs are made of all questions of a sheet, never of those that happen to
    be missing from a journal: who resumes scores the whole pack again in which one is missing.

    Args:
        pack_tokens: most tokens of a pack, common starts counted once; 0 gives every question a pack of its own.
    """
    found: list[list[int]] = []
    pack: list[int] = []
    room = requests_left = 0
    held: set[bytes] = set()
    for index in tree_order(asked):
        requests = asked[index]
        needed = _new_tokens(requests, held)
        if not pack or needed > room or len(requests) > requests_left:
            pack, held, requests_left = [], set(), _PACK_REQUESTS
            found.append(pack)
            needed = _new_tokens(requests, held)
            room = pack_tokens
        pack.append(index)
        held.update(_bytes(request.prompt[:cut]) for request in requests for cut in request.cuts)
        room, requests_left = room - needed, requests_left - len(requests)
    return found


def _new_tokens(requests: Iterable[ScoreRequest], held: set[bytes]) -> int:
    """Tokens of these prompts that no start in `held`, nor one of these prompts before, holds already."""
    known, total = set(held), 0
    for request in requests:
        for begin, end in pairwise([0, *request.cuts, len(request.prompt)]):
            start = _bytes(request.prompt[:end])
            total += 0 if start in known and end in request.cuts else end - begin
            known.add(start)
    return total


def _bytes(ids: Sequence[int]) -> bytes:
    return ids.tobytes() if isinstance(ids, array) else array("i", ids).tobytes()
