"""How well the model expects validation rows that are no exam questions: loss and accuracy a trained token."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trainer.batches import Collator
from trainer.evaluation import summed_over_ranks
from trainer.examples import Example
from trainer.target_loss import TargetLoss

# Shapes: B = rows of a batch, L = tokens.

POSITIONS = 2048
"""Trained positions in one forward pass: long texts go one at a time, as they do in training."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """Over all trained tokens of all rows."""

    loss: float
    """Mean negative log probability of a token."""
    accuracy: float
    """Share of the tokens that were the likeliest."""
    rows: int
    tokens: int

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(min(self.loss, 700))


def rows_to_score(examples: Sequence[Example], rows: int, seed: int) -> list[Example]:
    """A fixed, seeded choice of `rows` examples that are no exam questions (0: all of them), by length."""
    others = [example for example in examples if example.question is None]
    if rows and rows < len(others):
        others = random.Random(seed).sample(others, rows)  # noqa: S311
    return sorted(others, key=lambda example: len(example.ids))


def score_tokens(
    model: torch.nn.Module,
    examples: Sequence[Example],
    target_loss: TargetLoss,
    *,
    batch_size: int,
    padding_id: int,
    device: torch.device,
) -> TokenScore:
    """Score all examples; the ranks share the work, and get the same score.

    Args:
        target_loss: what was prepared for this model.
    """
    longest = max(example.trained_tokens for example in examples)
    batch_size = max(1, min(batch_size, POSITIONS // longest))

    def score(batch: Sequence[Example]) -> torch.Tensor:
        arrays = Collator(batch, padding_id)([(place,) for place in range(len(batch))])
        ids_BL, labels_BL = arrays["input_ids"].to(device), arrays["labels"].to(device)
        return target_loss.score(model, ids_BL, labels_BL)

    loss, right = summed_over_ranks(model, examples, batch_size, device, score, (2,)).tolist()
    tokens = sum(example.trained_tokens for example in examples)
    return TokenScore(loss / tokens, right / tokens, len(examples), tokens)
