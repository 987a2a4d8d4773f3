"""What is known of a sequence in the generation cache, and how much of it a new prompt can begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = 128
"""Tokens of a prompt that are evaluated at once when nobody else waits; cuts are at multiples of it."""


@dataclass(slots=True)
class Slot:
    """One sequence of the cache and the tokens in its cells."""

    number: int
    tokens: list[int] = field(default_factory=list)
    exact: int = 0
    """Leading tokens, a multiple of BLOCK, whose cells are what an empty cache would have made of them."""
    busy: bool = False
    used_at: int = 0


def common_start(held: Sequence[int], prompt: Sequence[int]) -> int:
    """Length of the common start; the prompt's last token is evaluated in any case, for its logits."""
    longest = min(len(held), len(prompt) - 1)
    for at in range(longest):
        if held[at] != prompt[at]:
            return at
    return longest


def exact_start(slot: Slot, prompt: Sequence[int]) -> int:
    """Length of the start that a reproducible reply may reuse: whole blocks only."""
    return min(slot.exact, common_start(slot.tokens, prompt) // BLOCK * BLOCK)
