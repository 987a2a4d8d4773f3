"""Rows with a common start follow each other, and packs hold as much as they may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.interface import ScoreRequest
from runtime.tree import packs, tree_order

SYSTEM = (1, 2, 3, 4)


def asked(passage: int, question: int, orders: int = 1) -> tuple[ScoreRequest, ...]:
    text = (*SYSTEM, *[100 + passage] * 20)
    stem = (*text, *[200 + question] * 5)
    return tuple(
        ScoreRequest((*stem, 300 + order, 9), ((5,), (6,)), (len(SYSTEM), len(text), len(stem)))
        for order in range(orders)
    )


def test_rows_on_one_passage_follow_each_other_in_the_order_they_came() -> None:
    rows = [asked(0, 0), asked(1, 1), asked(0, 2), asked(2, 3), asked(1, 4), asked(0, 0)]
    assert tree_order(rows) == [0, 5, 2, 1, 4, 3]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=30))
def test_every_start_is_visited_once(rows: list[tuple[int, int]]) -> None:
    requests = [asked(*row) for row in rows]
    order = tree_order(requests)
    assert sorted(order) == list(range(len(rows)))
    for cut in range(3):
        starts = [tuple(requests[index][0].prompt[: requests[index][0].cuts[cut]]) for index in order]
        changes = [start for before, start in zip([None, *starts], starts, strict=False) if start != before]
        assert len(changes) == len(set(changes))


def test_without_packing_every_row_is_a_pack() -> None:
    rows = [asked(0, 0), asked(1, 1), asked(0, 2)]
    assert packs(rows, 0) == [[0], [2], [1]]


def test_packs_count_common_starts_once() -> None:
    rows = [asked(0, number) for number in range(10)]
    assert packs(rows, 24 + 7 * 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert packs([asked(0, number, 3) for number in range(4)], 24 + 2 * 11) == [[0, 1], [2, 3]]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=40), st.integers(1, 200))
def test_a_pack_fits_unless_one_row_alone_does_not(rows: list[tuple[int, int]], room: int) -> None:
    requests = [asked(*row, 2) for row in rows]
    made = packs(requests, room)
    assert [index for pack in made for index in pack] == tree_order(requests)
    for pack in made:
        starts = {tuple(request.prompt[:cut]) for index in pack for request in requests[index] for cut in request.cuts}
        unique = sum(len(start) for start in starts if len(start) == 4)
        unique += sum(20 for start in starts if len(start) == 24) + sum(5 for start in starts if len(start) == 29)
        unique += sum(2 * len(requests[index]) for index in pack)
        assert unique <= room or len(pack) == 1
