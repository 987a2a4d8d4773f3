"""The learning rate over a run."""

from __future__ import annotations

import math

from trainer.settings import TrainingSettings


def warmup_steps(training: TrainingSettings, steps: int) -> int:
    """Steps of warm-up: a number, or a share of all steps where it is below 1."""
    return math.ceil(training.warmup * steps) if training.warmup < 1 else round(training.warmup)


def rate_share(step: int, steps: int, training: TrainingSettings) -> float:
    """Learning rate of a step (counted from 0) as a share of the highest one."""
    warmup = warmup_steps(training, steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if training.scheduler == "constant":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    shape = (1 + math.cos(math.pi * done)) / 2 if training.scheduler == "cosine" else 1 - done
    return training.final_learning_rate + (1 - training.final_learning_rate) * shape
