"""What is computed for one question, and how the journal of `predict` writes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from runtime.journal import Records


@dataclass(frozen=True, slots=True)
class Result:
    """What was computed for one question."""

    scores: tuple[tuple[float, ...], ...]
    """Log probability of every label, for every order of the options."""
    tokens: int
    """Length of the prompt."""


def _written(result: Result) -> dict[str, Any]:
    return {"scores": result.scores, "tokens": result.tokens}


def _read(record: dict[str, Any]) -> Result | None:
    scores, tokens = record.get("scores"), record.get("tokens")
    if isinstance(scores, list) and scores and all(map(_are_numbers, scores)) and isinstance(tokens, int):
        return Result(tuple(map(tuple, scores)), tokens)
    return None


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, float) and math.isfinite(value) for value in values)


SCORES: Records[Result] = Records("lora2edge predict", 3, _written, _read)
"""The journal of `predict`: log probabilities. Answers are made of them whenever the CSV is written."""
