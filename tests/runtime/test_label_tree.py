"""The tree of the labels' spellings: every inner token once, every fork a sequence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ToolError
from runtime.llama_context import MAX_OUTPUTS
from runtime.llama_labels import label_tree, label_trees, log_softmax

labels = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5).map(tuple), min_size=1, max_size=9, unique=True)


def test_labels_of_one_token_need_no_evaluation() -> None:
    tree = label_tree(((5,), (6,)))
    assert (tree.tokens, tree.sequences, tree.wanted) == ((), 1, ((5, 6),))


def test_a_common_start_is_one_inner_token() -> None:
    tree = label_tree(((9, 5), (9, 6), (5,)))
    assert (tree.tokens, tree.depths, tree.sequences) == ((9,), (1,), 1)
    assert tree.wanted == ((5, 9), (5, 6))


def test_forks_are_sequences() -> None:
    tree = label_tree(((9, 5, 1), (9, 6, 1), (7, 5)))
    assert tree.tokens == (7, 9, 5, 6)
    assert tree.depths == (1, 1, 2, 2)
    assert tree.branches == (range(1), range(1, 3), range(1, 2), range(2, 3))
    assert tree.sequences == 3


@given(labels)
def test_every_inner_token_lies_on_a_path_of_its_sequences(continuations: list[tuple[int, ...]]) -> None:
    tree = label_tree(tuple(continuations))
    inner = {ids[:length] for ids in continuations for length in range(1, len(ids))}
    paths: list[list[int]] = [[] for _ in range(tree.sequences)]
    found = set()
    for token, depth, own in zip(tree.tokens, tree.depths, tree.branches, strict=True):
        for sequence in own:
            assert len(paths[sequence]) == depth - 1  # positions follow each other
            paths[sequence].append(token)
            found.add(tuple(paths[sequence]))
    assert found == inner
    assert len(tree.tokens) == len(inner)


@given(labels)
def test_log_probabilities_are_sums_along_the_path(continuations: list[tuple[int, ...]]) -> None:
    tree = label_tree(tuple(continuations))
    inner = [(), *sorted({ids[:length] for ids in continuations for length in range(1, len(ids))})]
    draw = np.random.default_rng(0)
    logits = {node: draw.standard_normal(10).astype(np.float32) for node in inner}
    wanted = [
        sum(log_softmax(logits[ids[:place]], [token])[0] for place, token in enumerate(ids)) for ids in continuations
    ]
    assert tree.log_probabilities(logits[node] for node in inner) == pytest.approx(wanted)


def test_log_softmax_is_a_distribution_and_refuses_what_is_no_number() -> None:
    logits = np.array([1000.0, 999.0, -1000.0], np.float32)
    assert sum(map(math.exp, log_softmax(logits, [0, 1, 2]))) == pytest.approx(1)
    with pytest.raises(ToolError, match="weights are broken"):
        log_softmax(np.array([1.0, np.nan], np.float32), [0])


def test_many_long_labels_are_split_among_trees() -> None:
    continuations = tuple((first, 1, 2, 3, 4) for first in range(26))
    trees = label_trees(continuations)
    assert len(trees) > 1
    assert all(len(tree.tokens) < MAX_OUTPUTS for tree in trees)
    assert sum(len(tree.steps) for tree in trees) == 26
    with pytest.raises(ToolError, match="cannot be scored"):
        label_trees((tuple(range(MAX_OUTPUTS + 1)),))
