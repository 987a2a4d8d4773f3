"""The tree that the spellings of the labels form, so that every inner token is evaluated once and all in one batch."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from configs.errors import ToolError
from runtime.llama_arrays import np
from runtime.llama_context import MAX_OUTPUTS, Block, Logits


@dataclass(frozen=True, slots=True)
class LabelTree:
    """Continuations of one prompt as a tree. Its inner tokens are evaluated after the prompt, each leaf needs none.

    Logits come after the prompt's last token (output 0) and after every inner token (output 1 and on).
    """

    tokens: Block
    """The inner tokens, every parent before its children."""
    depths: tuple[int, ...]
    """Distance of each inner token from the prompt's last."""
    branches: tuple[range, ...]
    """The sequences, counted from 0, that each inner token belongs to."""
    sequences: int
    """How many sequences the tree needs; 1 if it has no fork."""
    steps: tuple[tuple[tuple[int, int], ...], ...]
    """For every continuation its tokens, each with the output that foretells it."""
    wanted: tuple[tuple[int, ...], ...]
    """For every output the tokens whose probabilities are wanted."""

    @property
    def outputs(self) -> int:
        """How many logits it takes."""
        return len(self.tokens) + 1

    def log_probabilities(self, outputs: Iterable[Logits]) -> list[float]:
        """Log probability of every continuation from the logits of all outputs, which may be views that do not last."""
        found = {
            (output, token): value
            for output, logits in enumerate(outputs)
            for token, value in zip(self.wanted[output], log_softmax(logits, self.wanted[output]), strict=True)
        }
        return [math.fsum(found[step] for step in steps) for steps in self.steps]


@lru_cache(maxsize=64)
def label_tree(continuations: tuple[Block, ...]) -> LabelTree:
    """The tree of these continuations."""
    inner = sorted({ids[:length] for ids in continuations for length in range(1, len(ids))})  # a start comes first
    ends = [next((at for at in range(start, len(inner)) if inner[at][: len(node)] != node), len(inner))
            for start, node in enumerate(inner)]  # fmt: skip
    tips = [start for start, end in enumerate(ends) if end == start + 1]
    output = {(): 0} | {node: number for number, node in enumerate(inner, 1)}
    steps = tuple(tuple((output[ids[:place]], token) for place, token in enumerate(ids)) for ids in continuations)
    every = sorted({step for ids in steps for step in ids})
    return LabelTree(
        tokens=tuple(node[-1] for node in inner),
        depths=tuple(map(len, inner)),
        branches=tuple(range(bisect_left(tips, start), bisect_left(tips, end)) for start, end in enumerate(ends)),
        sequences=max(1, len(tips)),
        steps=steps,
        wanted=tuple(tuple(token for at, token in every if at == number) for number in range(len(inner) + 1)),
    )


@lru_cache(maxsize=64)
def label_trees(continuations: tuple[Block, ...]) -> tuple[LabelTree, ...]:
    """Trees of consecutive continuations, as few as can be, each with at most `MAX_OUTPUTS` outputs.

    Raises:
        ToolError: one continuation alone is too long.
    """
    trees: list[LabelTree] = []
    group: tuple[Block, ...] = ()
    for ids in continuations:
        if len(ids) > MAX_OUTPUTS or not ids:
            raise ToolError(f"a label of {len(ids)} tokens cannot be scored; 1 to {MAX_OUTPUTS} can")
        if group and len(label_tree((*group, ids)).tokens) >= MAX_OUTPUTS:
            trees.append(label_tree(group))
            group = ()
        group = (*group, ids)
    return (*trees, label_tree(group))


def log_softmax(logits: Logits, tokens: Sequence[int]) -> list[float]:
    """Log probabilities of some tokens, computed in float64.

    Raises:
        ToolError: the logits are not numbers: broken weights.
    """
    check_finite(logits)
    most = float(logits.max())
    total = math.log(float(np.exp(logits.astype(np.float64) - most).sum()))
    return [float(logits[token]) - most - total for token in tokens]


def check_finite(logits: Logits) -> None:
    """Refuse the logits of broken weights with a ToolError."""
    if not np.isfinite(logits).all():
        raise ToolError("the model computes values that are not numbers; its weights are broken")
