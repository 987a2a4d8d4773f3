"""Less bias for a label or a place: the same question with its options in several orders.

`cyclic` shows every option once at every place, `full` takes every order there is. An option's score is the mean of its
log probabilities over the orders: the geometric mean of its probabilities, up to their sum. `pride` does so for a
sample only, takes from it how much the model favours each label whatever stands there, and divides that out of the
single answer of the other rows: Zheng et al., "Large Language Models Are Not Robust Multiple Choice Selectors", ICLR
2024, arXiv:2309.03882.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Literal

from configs.atomic import sha256_text
from configs.errors import ConfigError
from configs.exam import Question
from configs.option_order import Order, movable

Debias = Literal["none", "cyclic", "full", "pride"]
RowDebias = Literal["none", "cyclic", "full"]
"""What is done with one question."""

Scores = Sequence[Sequence[float]]
"""For every order the log probability of every label."""

ORDERS = "orders, 2"
"""Names the rule that says which orders there are; a journal written under another is not continued."""
MOST_ORDERS = 24
_SAMPLE_SHARE, _SAMPLE_ROWS = 0.05, 20


def orders(question: Question, debias: RowDebias) -> tuple[Order, ...]:
    """The orders to ask the question in, the sheet's own first; those with a common start follow each other.

    Raises:
        ConfigError: `full` would need more than 24.
    """
    places = movable(question)
    same = tuple(range(1, len(question.choices) + 1))
    if debias == "none" or len(places) < 2:
        return (same,)
    if debias == "cyclic":
        return tuple(_placed(same, places, places[turn:] + places[:turn]) for turn in range(len(places)))
    if math.factorial(len(places)) > MOST_ORDERS:
        raise ConfigError(
            f"{len(places)} options have {math.factorial(len(places))} orders, more than {MOST_ORDERS}",
            hint="--debias cyclic needs one order for each option",
        )
    return tuple(_placed(same, places, options) for options in permutations(places))


def by_option(question: Question, scores: Scores) -> list[list[float]]:
    """The scores of every order, of every option instead of every label.

    Raises:
        ValueError: no way of asking this question gives as many orders.
    """
    if len(scores) == 1:
        return [list(scores[0])]
    for debias in ("cyclic", "full"):
        places = movable(question)
        if len(scores) == (len(places) if debias == "cyclic" else math.factorial(len(places))):
            return [
                [values[order.index(option)] for option in range(1, len(order) + 1)]
                for order, values in zip(orders(question, debias), scores, strict=True)
            ]
    raise ValueError(f"{len(scores)} orders of a question with {len(question.choices)} options")


def plan_orders(questions: Mapping[str, Question], debias: Debias) -> dict[str, RowDebias]:
    """What to do with each question of a sheet, by key. It depends on all of the sheet's questions and nothing else.

    For `pride` a sample is asked in cyclic orders: of the questions with as many options, all of which may change
    places, 5 % but at least 20, chosen by a hash of the question itself.

    Raises:
        ConfigError: `full` would need more than 24 orders of a question.
    """
    if debias != "pride":
        for question in questions.values():
            orders(question, debias)
        return dict.fromkeys(questions, debias)
    groups: dict[int, list[str]] = {}
    for key, question in questions.items():
        if len(movable(question)) == len(question.choices):
            groups.setdefault(len(question.choices), []).append(key)
    sample = set()
    for keys in groups.values():
        count = max(_SAMPLE_ROWS, math.ceil(_SAMPLE_SHARE * len(keys)))
        sample.update(sorted(keys, key=lambda key: _hash(questions[key]))[:count])
    return {key: "cyclic" if key in sample else "none" for key in questions}


def priors(questions: Mapping[str, Question], scores: Mapping[str, Scores]) -> dict[int, tuple[float, ...]]:
    """How much the model favours each label: for a number of options, the log probability of each label.

    Args:
        questions: those of the sheet, by key.
        scores: what is known of them; those with several orders are the sample.
    """
    shares: dict[int, list[list[float]]] = {}
    for key, question in questions.items():
        count = len(question.choices)
        found = scores.get(key, ())
        if len(found) == count == len(movable(question)):
            logs = [math.fsum(values) / count for values in zip(*map(_normalised, found), strict=True)]
            shares.setdefault(count, []).append([math.exp(value) for value in _normalised(logs)])
    return {
        count: tuple(math.log(math.fsum(values) / len(rows)) for values in zip(*rows, strict=True))
        for count, rows in shares.items()
    }


def _placed(same: Order, places: Sequence[int], options: Sequence[int]) -> Order:
    """`same` with these options at these places."""
    put = dict(zip(places, options, strict=True))
    return tuple(put.get(place, place) for place in same)


def _normalised(logs: Sequence[float]) -> list[float]:
    """Log probabilities that sum to one."""
    most = max(logs)
    total = most + math.log(math.fsum(math.exp(value - most) for value in logs))
    return [value - total for value in logs]


def _hash(question: Question) -> str:
    return sha256_text(json.dumps([question.passage, question.question, *question.choices], ensure_ascii=False))
