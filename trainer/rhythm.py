"""Which steps are followed by an evaluation, and which by a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainer.job import Job


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The steps of one run."""

    steps: int
    evaluate_every: int
    checkpoint_every: int

    @classmethod
    def of(cls, job: Job, steps: int) -> Rhythm:
        """The settings' rhythm, with its zeros filled in."""
        evaluate_every = job.settings.evaluation.every or max(1, steps // 10)
        return cls(steps, evaluate_every, job.settings.checkpoint.every or evaluate_every)

    def is_evaluated(self, step: int) -> bool:
        """Every so many steps, and after the last."""
        return step % self.evaluate_every == 0 or step == self.steps

    def is_saved(self, step: int) -> bool:
        """Every so many steps; after the last the adapter itself is written."""
        return step % self.checkpoint_every == 0 and step < self.steps


class Conductor(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by mypy
    """Tells Trainer when to evaluate and when to save."""

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> TrainerControl:
        control.should_log = True
        control.should_evaluate = self._rhythm.is_evaluated(state.global_step)
        control.should_save = self._rhythm.is_saved(state.global_step)
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> TrainerControl:
        # The one "epoch" ends with the last step, which has had its evaluation.
        control.should_evaluate = control.should_save = False
        return control
