"""The grouped split: rows that share a passage never fall on both sides."""

from __future__ import annotations

import random
from collections.abc import Sequence


def validation_places(passages: Sequence[str], share: float, seed: int) -> set[int]:
    """Places of the rows to validate on: whole groups of one passage, as near to `share` of the rows as groups allow.

    Two passages are one if they differ in surrounding white space only.
    """
    groups: dict[str, list[int]] = {}
    for place, passage in enumerate(passages):
        groups.setdefault(passage.strip(), []).append(place)
    shuffled = list(groups.values())
    random.Random(seed).shuffle(shuffled)  # noqa: S311  a split needs no secrecy
    wanted = round(len(passages) * share)
    chosen: list[list[int]] = []
    left_out: list[list[int]] = []
    for group in shuffled:
        fits = len(group) <= wanted
        (chosen if fits else left_out).append(group)
        wanted -= len(group) if fits else 0
    smallest = min(left_out, key=len, default=[])
    if smallest and len(smallest) - wanted < wanted:
        chosen.append(smallest)
    return {place for group in chosen for place in group}
