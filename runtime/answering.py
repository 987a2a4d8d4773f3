"""Answering a question from the probabilities of its labels: nothing is sampled."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from configs.errors import ConfigError
from configs.exam import Question, QuestionFormat, label_ids
from configs.formats import Formats
from configs.prompt import Tokenizer
from runtime.interface import ScoreRequest

SCORING = "label log-probabilities, 2"
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


class Asker:
    """Turns questions into scoring requests for one model."""

    def __init__(self, formats: Formats, question_format: QuestionFormat, tokenizer: Tokenizer) -> None:
        self._formats = formats
        self._question_format = question_format
        self._tokenizer = tokenizer
        first, second = (self._label_ids(probe)[0] for probe in _PROBES)
        differing = (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
        self._shared = first[: next(differing, 0)]

    def requests(self, question: Question) -> tuple[ScoreRequest, ...]:
        """What to evaluate for a question: one request for each order of its options.

        The start that every prompt has is named, so that an engine evaluates it once. A row whose first character
        melts into that start is evaluated whole: this depends on the row alone, so a resumed run does the same.

        Raises:
            ConfigError: more options than labels, or labels that cannot be told apart.
        """
        prompt, labels = self._label_ids(question)
        shared = len(self._shared)
        cuts = (shared,) if shared and prompt[:shared] == self._shared else ()
        # An array: a large sheet's prompts are all held at once, and Python's ints would take ten times the room.
        return (ScoreRequest(array("i", prompt), tuple(map(tuple, self._distinct(labels))), cuts),)

    def _label_ids(self, question: Question) -> tuple[list[int], list[list[int]]]:
        return label_ids(self._formats.prompt, self._question_format, question, self._tokenizer)

    def _distinct(self, labels: list[list[int]]) -> list[list[int]]:
        """Labels of which none begins another (`1`, `10`): else each is scored with the token that ends a reply."""
        begins = any(a is not b and b[: len(a)] == a for a in labels for b in labels)
        if not begins:
            return labels
        prompt_format = self._formats.prompt
        end = next((stop for stop in prompt_format.stops if stop in prompt_format.special_tokens), None)
        if end is None:
            raise ConfigError(
                f"one label of {self._question_format.name} begins another",
                hint=f"and prompt format {prompt_format.name} has no special token that would tell them apart",
            )
        return [[*ids, self._tokenizer.special(end)] for ids in labels]


def weigh(question: Question, scores: Sequence[Sequence[float]]) -> Answer:
    """Choose among the options that are not blank.

    Args:
        scores: log probability of every label, for every order of the options that `Asker.requests` asked for.
    """
    (log_probabilities,) = scores
    answerable = question.answerable
    best = max(log_probabilities[place - 1] for place in answerable)
    weights = {place: math.exp(log_probabilities[place - 1] - best) for place in answerable}
    total = math.fsum(weights.values())
    ranked = sorted(answerable, key=lambda place: (-log_probabilities[place - 1], place))
    first, second = (log_probabilities[place - 1] for place in ranked[:2])
    mass = math.fsum(map(math.exp, log_probabilities))
    warnings = ["near tie"] if first - second < _NEAR_TIE_NATS else []
    warnings += [f"low label mass {mass:.3f}"] if mass < LOW_MASS else []
    return Answer(
        place=ranked[0],
        probabilities=tuple(weights.get(place, 0.0) / total for place in range(1, len(question.choices) + 1)),
        label_mass=mass,
        margin=(weights[ranked[0]] - weights[ranked[1]]) / total,
        warnings=tuple(warnings),
    )
