"""The grouped split: rows on one text, or on versions of it that begin or end alike, never fall on both sides.

Few rows are split exactly, and what begins or ends alike stays together. Of many, what ends alike does, and no more is
held than a count for each of 65,536 ranges of the hashes.

An ending that more than a third of all rows share is no version of a text but the wording around it: those rows go by
their whole texts.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

FEW_ROWS = 200_000
_LETTERS = 50
_SPAN = 4 * _LETTERS
_OTHERS = re.compile(r"[\W_]+")
_RANGE_BITS = 16
_WORDING_SHARE = 3


def whole_of(text: str) -> int:
    """64-bit hash of a text's letters and digits."""
    return _hash(_OTHERS.sub("", text))


def ending_of(text: str) -> int:
    """64-bit hash of a text's last 50 letters and digits: versions of one text share them more often than not."""
    return _hash(_OTHERS.sub("", text[-_SPAN:])[-_LETTERS:])


def opening_of(text: str) -> int:
    """64-bit hash of a text's first 50 letters and digits."""
    return _hash(_OTHERS.sub("", text[:_SPAN])[:_LETTERS])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def wordings(endings: Callable[[], Iterable[int]]) -> frozenset[int]:
    """Endings that more than a third of the rows share; holds three counts, however many rows there are.

    J. Misra, D. Gries, Finding repeated elements, 1982: what remains of counts that cancel each other three by three.

    Args:
        endings: gives the ending of every row, as often as it is asked.
    """
    left: Counter[int] = Counter()
    for ending in endings():
        left[ending] += 1
        if len(left) == _WORDING_SHARE:
            left = Counter({one: count - 1 for one, count in left.items() if count > 1})
    rows, met = 0, Counter(dict.fromkeys(left, 0))
    for ending in endings():
        rows += 1
        if ending in met:
            met[ending] += 1
    return frozenset(one for one, count in met.items() if count * _WORDING_SHARE > rows)


def validation_rule(
    texts: Callable[[], Iterable[tuple[int, int]]], rows: int, share: float, seed: int, *, few: int = FEW_ROWS
) -> Callable[[int], bool]:
    """Whether a group is validated on.

    Args:
        texts: gives (group, opening) of every row, as often as it is asked; opening 0 is none.
        rows: how many there are.
        share: of the rows, 0..1.
        few: the most rows that are split group by group.
    """
    if rows <= few:
        versions = _Versions()
        counts = Counter(versions.join(group, opening) for group, opening in texts())
        # Two groups may have been joined after rows of each were counted.
        joined: Counter[int] = Counter()
        for group, count in counts.items():
            joined[versions.first(group)] += count
        chosen = validation_groups(joined, share, seed)
        return lambda group: versions.first(group) in chosen
    ranges = validation_groups(Counter(_range(group) for group, _ in texts()), share, seed)
    return lambda group: _range(group) in ranges


class _Versions:
    """Groups that have an opening in common, joined under the one that came first (union-find)."""

    def __init__(self) -> None:
        self._before: dict[int, int] = {}
        self._group_of_opening: dict[int, int] = {}

    def join(self, group: int, opening: int) -> int:
        """Take one row; returns the group it belongs to for now."""
        found = self.first(group)
        if opening:
            earlier = self.first(self._group_of_opening.setdefault(opening, found))
            if earlier != found:
                self._before[found] = earlier
            return earlier
        return found

    def first(self, group: int) -> int:
        """The first of the groups that this one is joined with."""
        while (earlier := self._before.get(group, group)) != group:
            self._before[group] = self._before.get(earlier, earlier)
            group = earlier
        return group


def validation_groups(counts: Mapping[int, int], share: float, seed: int) -> set[int]:
    """Groups to validate on, as near to `share` of the rows as whole groups allow.

    Args:
        counts: rows of each group.
    """
    shuffled = list(counts)
    random.Random(seed).shuffle(shuffled)  # noqa: S311  a split needs no secrecy
    wanted = round(sum(counts.values()) * share)
    chosen: set[int] = set()
    for group in shuffled:
        if counts[group] <= wanted:
            chosen.add(group)
            wanted -= counts[group]
    left_out = (group for group in shuffled if group not in chosen)
    smallest = min(left_out, key=counts.__getitem__, default=None)
    if smallest is not None and counts[smallest] - wanted < wanted:
        chosen.add(smallest)
    return chosen


def _range(group: int) -> int:
    return group >> (64 - _RANGE_BITS)
