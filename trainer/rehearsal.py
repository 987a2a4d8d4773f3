"""A checkpoint before the first step: written and read back, so that no run fails at its first one after hours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from configs.errors import MachineError, ToolError
from trainer import adapter, checkpoints
from trainer.model import trainable_parameters
from trainer.work import CHECKPOINT_PREFIX

if TYPE_CHECKING:
    from trainer.loop import FitTrainer

_BYTES_A_PARAMETER = 12
"""Of a checkpoint: weight and AdamW's two moments in f32. Before the first step the moments may not be there yet."""


class Rehearsal(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by mypy
    """Saves and reads back a checkpoint when a run begins; one that is gone on with has been read already."""

    def __init__(self, trainer: FitTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> TrainerControl:
        if state.global_step:
            return control
        trainer = self._trainer
        trainer.save_rehearsed()
        if trainer.reporter.is_first:
            folder = trainer.job.work / f"{CHECKPOINT_PREFIX}0"
            read_back(folder, adapter.expected_shapes(trainer.model))
            check_space(folder, trainable_parameters(trainer.model), keep=trainer.job.settings.checkpoint.keep)
            shutil.rmtree(folder)
        trainer.accelerator.wait_for_everyone()
        return control


def read_back(folder: Path, shapes: adapter.Shapes) -> None:
    """Open every file of a checkpoint as a resumed run would, and look for every tensor that the result must have.

    Raises:
        ToolError: a file is not what was written, or a tensor is not there.
    """
    if not checkpoints.read_marker(folder):
        raise ToolError(f"the checkpoint {folder} does not read back as it was written", hint="check the disk")
    adapter.check_whole(folder / adapter.WEIGHTS_FILE, shapes)
    try:
        for path in (*folder.rglob("*.pt"), *folder.rglob("*.pth")):
            torch.load(path, map_location="cpu", weights_only=False)  # this process wrote it
    except Exception as error:
        raise ToolError(f"the checkpoint {folder} cannot be read back: {error}", hint="check the disk") from error


def check_space(folder: Path, parameters: int, *, keep: int) -> None:
    """Refuse a run whose checkpoints will not fit beside each other: those kept, and the one being written.

    Raises:
        MachineError: what is free and what is needed.
    """
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed = (keep + 1) * max(written, _BYTES_A_PARAMETER * parameters)
    free = shutil.disk_usage(folder).free + written
    if free < needed:
        raise MachineError(
            f"the disk of {folder.parent} has {free / 1e9:,.1f} GB free, and {keep + 1} checkpoints take "
            f"{needed / 1e9:,.1f} GB",
            hint="free some space" + ("" if keep == 1 else ", or --set checkpoint.keep=1"),
        )
