"""How well the model expects validation rows that are no exam questions: loss and accuracy a trained token."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  the name torch's own documentation uses

from trainer.batches import Collator
from trainer.evaluation import summed_over_ranks
from trainer.examples import IGNORED, Example

# Shapes: B = rows of a batch, L = tokens, K = trained positions, V = vocabulary.

POSITIONS = 2048
"""Trained positions in one forward pass: each takes a number for every word of the vocabulary."""


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
    model: torch.nn.Module, examples: Sequence[Example], *, batch_size: int, padding_id: int, device: torch.device
) -> TokenScore:
    """Score all examples; the ranks share the work, and get the same score."""
    longest = max(example.trained_tokens for example in examples)
    batch_size = max(1, min(batch_size, POSITIONS // longest))
    sums = summed_over_ranks(
        model, examples, batch_size, device, lambda batch: _score_batch(model, batch, padding_id, device), (3,)
    )
    loss, right, tokens = sums.tolist()
    return TokenScore(loss / tokens, right / tokens, len(examples), int(tokens))


def _score_batch(
    model: torch.nn.Module, examples: Sequence[Example], padding_id: int, device: torch.device
) -> torch.Tensor:
    """[summed loss, right tokens, tokens] of one batch."""
    batch = Collator(examples, padding_id)([(place,) for place in range(len(examples))])
    ids_BL, labels_BL = batch["input_ids"].to(device), batch["labels"].to(device)
    target_BL = F.pad(labels_BL, (0, 1), value=IGNORED)[:, 1:]
    keep_BL = target_BL != IGNORED
    target_K = target_BL[keep_BL]
    logits_KV = model(input_ids=ids_BL, logits_to_keep=keep_BL, use_cache=False).logits.float()
    loss = F.cross_entropy(logits_KV, target_K, reduction="sum")
    right = (logits_KV.argmax(-1) == target_K).sum()
    return torch.stack([loss.double(), right.double(), keep_BL.sum().double()])
