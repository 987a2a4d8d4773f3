"""Log probabilities of labels, on a context that evaluates prompts block by block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from configs.errors import ToolError
from runtime.interface import ScoreRequest
from runtime.llama_context import Block, LlamaContext, Logits

# The cut of a scored prompt is part of its result, so it does not depend on the machine. Measured on a CPU, 64 to 256
# tokens a block are the quickest.
_SCORE_BLOCK = 256

# Continuations of several tokens are evaluated together with this many of the prompt's last tokens: see `cut_evenly`.
_TAIL = 2


def score(context: LlamaContext, request: ScoreRequest) -> list[float]:
    """Log probability of every continuation, the start they share evaluated once with the prompt."""
    prompt, start = request.prompt, common_start(request.continuations)
    rests = [ids[len(start) :] for ids in request.continuations]
    blocks = _blocks(request, start, tail=_TAIL if max(map(len, rests)) > 1 else 0)
    outputs = range(len(prompt) - 1, len(prompt) + len(start))
    last: Logits | None = None
    base = 0.0
    for position, logits in context.evaluate(blocks, outputs):
        if position < outputs[-1]:
            base += log_probability(logits, start[position - outputs[0]])
        else:
            last = logits.copy()
    assert last is not None
    return request.by_label([base + _rest_of(context, blocks, last, rest) for rest in rests])


def _blocks(request: ScoreRequest, start: Block, tail: int) -> list[Block]:
    """The stretches between the cuts, the last with `start`; the last `tail` tokens of it by themselves."""
    whole = (*request.prompt, *start)
    ends = [cut for cut in request.cuts if 0 < cut <= len(whole) - 2 - tail]
    stretches = [whole[begin:end] for begin, end in pairwise([0, *ends, len(whole)])]
    last = stretches.pop()
    middle = max(0, len(last) - tail)
    return [block for stretch in (*stretches, last[:middle], last[middle:]) for block in cut_evenly(stretch)]


def _rest_of(context: LlamaContext, blocks: list[Block], last: Logits, ids: Block) -> float:
    """Log probability of one continuation after the shared start, whose last logits are `last`."""
    if not ids:
        return 0.0
    total = log_probability(last, ids[0])
    if len(ids) > 1:
        at = sum(map(len, blocks))
        block = (*blocks[-1], *ids[:-1])
        for position, logits in context.evaluate([*blocks[:-1], block], range(at, at + len(ids) - 1)):
            total += log_probability(logits, ids[position - at + 1])
    return total


def common_start(sequences: Sequence[Block]) -> Block:
    """The longest start that all sequences have."""
    shortest = min(sequences, key=len)
    differing = (at for at, tokens in enumerate(zip(*sequences, strict=False)) if len(set(tokens)) > 1)
    return shortest[: next(differing, len(shortest))]


def log_probability(logits: Logits, token: int) -> float:
    """Log softmax of one token, summed in float64.

    Raises:
        ToolError: the logits are not numbers: broken weights.
    """
    check_finite(logits)
    shifted = logits.astype(np.float64) - float(logits.max())
    return float(shifted[token] - np.log(np.exp(shifted).sum()))


def check_finite(logits: Logits) -> None:
    if not np.isfinite(logits).all():
        raise ToolError("the model computes values that are not numbers; its weights are broken")


def cut_evenly(ids: Sequence[int]) -> list[Block]:
    """As few blocks as possible, as equal as possible: none is a single token unless `ids` is.

    The attention kernel for one token splits its sum among the threads, so its result depends on their number.
    """
    count = -(-len(ids) // _SCORE_BLOCK)
    return [tuple(ids[len(ids) * at // count : len(ids) * (at + 1) // count]) for at in range(count)]
