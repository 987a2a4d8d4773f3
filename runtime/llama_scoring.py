"""Log probabilities of labels: prompts as a tree of stretches, each evaluated once.

What all prompts of one call begin with is kept, block by block, for the next call to go on from: so calls in tree order
walk the tree depth-first. What the prompts go on with is evaluated in as few batches as it fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from configs.errors import ToolError
from runtime.interface import ScoreRequest
from runtime.llama_context import MAX_BLOCK, MAX_BRANCHES, MAX_OUTPUTS, Block, Run, ScoringContext
from runtime.llama_labels import LabelTree, label_trees


@dataclass(frozen=True, slots=True)
class _Branch:
    """What is left of a prompt after the start, and the labels that follow it."""

    stretches: list[Block]
    tree: LabelTree


def score(context: ScoringContext, requests: Sequence[ScoreRequest]) -> list[list[float]]:
    """Log probability of every label of every request, all evaluated together.

    Raises:
        AbortedError: the context's abort callback said so.
        ToolError: a request does not fit the context, or llama.cpp fails.
    """
    for request in requests:
        if request.length > context.size:
            raise ToolError(f"{request.length} tokens do not fit the context of {context.size}")
    stretches = [_stretches(request) for request in requests]
    shared = _shared(stretches)
    start = [block for stretch in stretches[0][:shared] for block in cut_evenly(stretch)]
    branches = [
        _Branch(parts[shared:], tree)
        for request, parts in zip(requests, stretches, strict=True)
        for tree in label_trees(request.continuations)
    ]
    scores = iter([found for group in _groups(branches) for found in _evaluate(context, start, group)])
    return [
        request.by_label([value for _ in label_trees(request.continuations) for value in next(scores)])
        for request in requests
    ]


def _shared(stretches: Sequence[list[Block]]) -> int:
    """How many stretches all begin with, the last of each left out: those have outputs."""
    most = min(map(len, stretches)) - 1
    return next((at for at in range(most) if any(parts[at] != stretches[0][at] for parts in stretches)), most)


def _groups(branches: Sequence[_Branch]) -> Iterator[list[_Branch]]:
    """As many branches at a time as there may be sequences and outputs."""
    group: list[_Branch] = []
    sequences = outputs = 0
    for branch in branches:
        sequences += branch.tree.sequences
        outputs += branch.tree.outputs
        if group and (sequences > MAX_BRANCHES or outputs > MAX_OUTPUTS):
            yield group
            group, sequences, outputs = [], branch.tree.sequences, branch.tree.outputs
        group.append(branch)
    yield group


def _evaluate(context: ScoringContext, start: list[Block], branches: Sequence[_Branch]) -> list[list[float]]:
    """Log probabilities of every branch's continuations."""
    runs, order = _runs(branches, sum(map(len, start)))
    logits = context.evaluate(start, runs)
    found = {
        number: branches[number].tree.log_probabilities(islice(logits, branches[number].tree.outputs))
        for number in order
    }
    for _ in logits:
        raise AssertionError("more logits than were asked for")  # and the context tidies up
    return [found[number] for number in range(len(branches))]


def _runs(branches: Sequence[_Branch], at: int) -> tuple[list[Run], list[int]]:
    """The branches as runs, every stretch that several begin with once; and the order in which they come."""
    runs: list[Run] = []
    order: list[int] = []

    def grow(numbers: list[int], depth: int, at: int, sequence: int) -> int:
        """Add the stretches at `depth` of these branches, which agree before it; returns the next free sequence."""
        groups: dict[tuple[Block, int], list[int]] = {}
        for number in numbers:
            stretches = branches[number].stretches
            is_last = len(stretches) == depth + 1
            groups.setdefault((stretches[depth], number if is_last else -1), []).append(number)
        for (stretch, last), members in groups.items():
            width = sum(branches[number].tree.sequences for number in members)
            own = range(sequence, sequence + width)
            runs.append(Run(stretch, at, own, output=last >= 0))
            if last >= 0:
                order.append(last)
                runs.extend(_label_runs(branches[last].tree, at + len(stretch), sequence))
            else:
                grow(members, depth + 1, at + len(stretch), sequence)
            sequence += width
        return sequence

    grow(list(range(len(branches))), 0, at, 0)
    return runs, order


def _label_runs(tree: LabelTree, at: int, sequence: int) -> Iterator[Run]:
    for token, depth, own in zip(tree.tokens, tree.depths, tree.branches, strict=True):
        yield Run((token,), at + depth - 1, range(sequence + own.start, sequence + own.stop), output=True)


def _stretches(request: ScoreRequest) -> list[Block]:
    """The prompt between its cuts. None is a single token: see `cut_evenly`."""
    prompt = tuple(request.prompt)
    ends = [0]
    for cut in request.cuts:
        if ends[-1] + 2 <= cut <= len(prompt) - 2:
            ends.append(cut)
    return [prompt[begin:end] for begin, end in pairwise([*ends, len(prompt)])]


def cut_evenly(ids: Block) -> list[Block]:
    """As few blocks as possible, as equal as possible: none is a single token unless `ids` is.

    The attention kernel for one token splits its sum among the threads, so its result depends on their number.
    """
    count = -(-len(ids) // MAX_BLOCK)
    return [ids[len(ids) * at // count : len(ids) * (at + 1) // count] for at in range(count)]
