"""Answering a question from the probabilities of its labels: nothing is sampled."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from configs.exam import Question, QuestionFormat
from configs.formats import Formats
from configs.label_rule import ranked, shares
from configs.option_order import Order, reordered
from configs.prompt import Rendered, Tokenizer, encode
from configs.spellings import Speller
from runtime.debias import RowDebias, Scores, by_option, orders
from runtime.interface import ScoreRequest

SCORING = "label log-probabilities, 3"
"""Names the rule that turns a question into numbers; a journal written under another is not continued."""

_NEAR_TIE_NATS = 0.05
LOW_MASS = 0.5
"""Labels that share less probability than this were hardly what the model would have written."""

_PROBES = tuple(Question(letter * 3, letter, (letter, letter)) for letter in ("甲", "B"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the label log-probabilities say about a question."""

    place: int
    """The chosen option, counted from 1."""
    probabilities: tuple[float, ...]
    """Of every option, summing to 1; a blank option has 0."""
    label_mass: float
    """Probability that the model writes any of the labels at all."""
    margin: float
    """Probability of the chosen option less that of the next."""
    warnings: tuple[str, ...]
    flip_rate: float | None = None
    """Share of the orders that alone would give another answer; None where there is one order."""


class Asker:
    """Turns questions into scoring requests for one model."""

    def __init__(self, formats: Formats, question_format: QuestionFormat, tokenizer: Tokenizer) -> None:
        self._prompt_format = formats.prompt
        self._question_format = question_format
        # A question is converted once, as it stands; its parts are then put together in several ways.
        self._shown_format = question_format.model_copy(update={"convert": ""})
        self._tokenizer = tokenizer
        self._speller = Speller(formats.prompt, question_format, tokenizer)
        self._start = self._start_of(*_PROBES)

    def requests(self, question: Question, debias: RowDebias = "none", *, shared: bool) -> tuple[ScoreRequest, ...]:
        """What to evaluate for a question: one request for each order of its options, the sheet's own first.

        A prompt is cut after what every prompt begins with, after a shared passage, and where its orders part. Where
        the characters at a joint melt into one token, that cut is left out. All this depends on the arguments alone,
        and so do the results.

        Args:
            shared: whether the sheet asks anything else about this passage (`runtime.buckets.shared_passages`).

        Raises:
            ConfigError: more options than labels, labels that cannot be told apart, or too many orders.
        """
        shown = self._question_format.shown(question)
        ways = orders(question, debias)
        prompts = [self._rendered(reordered(shown, order)) for order in ways]
        ids = [encode(prompt, self._tokenizer) for prompt in prompts]
        cuts = self._cuts(shown, ways, ids, shared=shared)
        # Arrays: a large sheet's prompts are all held at once, and Python's ints would take ten times the room.
        return tuple(
            ScoreRequest(array("i", one), spelled, tuple(sorted(ends)), labels)
            for one, ends, (spelled, labels) in zip(
                ids, cuts, (self._speller.spell(prompt, len(shown.choices)) for prompt in prompts), strict=True
            )
        )

    def _cuts(
        self, shown: Question, ways: Sequence[Order], ids: Sequence[list[int]], *, shared: bool
    ) -> list[set[int]]:
        """Where to cut each order's prompt."""
        starts = [self._start]
        if shared:
            starts.append(
                self._start_of(*(replace(shown, question=probe.question, choices=probe.choices) for probe in _PROBES))
            )
        cuts = [{len(start) for start in starts if start and one[: len(start)] == start} for one in ids]
        for depth in range(len(shown.choices)):
            groups: dict[Order, list[int]] = {}
            for number, order in enumerate(ways):
                groups.setdefault(order[:depth], []).append(number)
            for members in groups.values():
                if len({ways[number][depth] for number in members}) > 1:  # they part here
                    length = min(len(_common(ids[members[0]], ids[number])) for number in members[1:])
                    for number in members:
                        cuts[number].add(length)
        return cuts

    def _start_of(self, first: Question, second: Question) -> list[int]:
        """What the prompts of two questions begin with."""
        return _common(*(encode(self._rendered(shown), self._tokenizer) for shown in (first, second)))

    def _rendered(self, shown: Question) -> Rendered:
        return self._prompt_format.prompt([{"role": "user", "content": self._shown_format.text(shown)}])


def weigh(question: Question, scores: Scores, prior: Sequence[float] = ()) -> Answer:
    """Choose among the options that are not blank.

    Args:
        scores: log probability of every label, for every order of the options that `Asker.requests` asked for.
        prior: what `debias.priors` gives for this number of options; taken off where there is one order alone.

    Raises:
        ValueError: scores that no way of asking this question gives.
    """
    options = by_option(question, scores)
    if len(scores) == 1 and prior:
        options = [[value - favour for value, favour in zip(options[0], prior, strict=True)]]
    means = [math.fsum(values) / len(options) for values in zip(*options, strict=True)]
    first, second = ranked(question, means)[:2]
    probabilities = shares(question, means)
    mass = math.fsum(math.exp(value) for values in scores for value in values) / len(scores)
    warnings = ["near tie"] if means[first - 1] - means[second - 1] < _NEAR_TIE_NATS else []
    warnings += [f"low label mass {mass:.3f}"] if mass < LOW_MASS else []
    flips = sum(ranked(question, values)[0] != first for values in options)
    return Answer(
        place=first,
        probabilities=probabilities,
        label_mass=mass,
        margin=probabilities[first - 1] - probabilities[second - 1],
        warnings=tuple(warnings),
        flip_rate=flips / len(options) if len(options) > 1 else None,
    )


def _common(first: list[int], second: list[int]) -> list[int]:
    """The longest start of both."""
    differing = (at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    return first[: next(differing, 0)]
