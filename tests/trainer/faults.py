"""What goes wrong in a training process on purpose; called in every rank before it begins."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def kill_after_step(step: str) -> None:
    """End as `kill -9` does, when a step has been taken and before anything of it is kept."""
    from trainer.loop import FitTrainer

    log = FitTrainer.log

    def logged(self: FitTrainer, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.state.global_step == int(step):
            os.kill(os.getpid(), signal.SIGKILL)
        log(self, logs, start_time)

    FitTrainer.log = logged


def kill_before_output() -> None:
    """End as `kill -9` does, when the last step has been taken and before the result is written."""
    from trainer import finish

    finish.write_output = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


_FILE_OPERATIONS = ((os, "fsync"), (os, "replace"), (os, "link"), (os, "unlink"), (os, "rename"), (shutil, "rmtree"))


def _before_file_operations(do: Callable[[int], None]) -> None:
    """Call `do` with a running number before whatever brings something to the disk, renames it or takes it away."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            do(count)
            return function(*args, **kwargs)

        return call

    for module, name in _FILE_OPERATIONS:
        setattr(module, name, counted(getattr(module, name)))


def count_file_operations(path: str) -> None:
    """Leave in a file how many there were."""
    _before_file_operations(lambda count: Path(path).write_bytes(str(count).encode()) and None)


def kill_at_file_operation(number: str) -> None:
    """End as `kill -9` does, before the file operation of that number."""
    _before_file_operations(lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == int(number) else None)


def spoil_gradient(step: str) -> None:
    """One number of the gradient is no number, though the loss is one."""
    from trainer.loop import FitTrainer

    train = FitTrainer.training_step

    def trained(self: FitTrainer, *args: Any, **kwargs: Any) -> Any:
        loss = train(self, *args, **kwargs)
        if self.state.global_step == int(step) - 1:
            next(p for p in self.model.parameters() if p.grad is not None).grad.view(-1)[0] = float("nan")
        return loss

    FitTrainer.training_step = trained


def spoil_validation() -> None:
    """The probabilities of validation rows are no numbers."""
    from dataclasses import replace

    from trainer import loop
    from trainer.evaluation import Score

    score = loop.evaluate

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        rows = score(*args, **kwargs).rows
        return Score(tuple(replace(row, probabilities=(float("nan"),) * len(row.probabilities)) for row in rows))

    loop.evaluate = spoilt  # type: ignore[assignment]


def mask_everything() -> None:
    """No position of a batch is trained."""
    from trainer.batches import Collator

    collate = Collator.__call__

    def masked(self: Collator, sequences: Any) -> Any:
        batch = collate(self, sequences)
        batch["labels"].fill_(-100)
        return batch

    Collator.__call__ = masked  # type: ignore[method-assign]


def ask_for_a_petabyte() -> None:
    """Run out of memory in the first step, by torch's own allocator."""
    import torch

    from trainer.loop import FitTrainer

    FitTrainer.training_step = lambda *_args, **_kwargs: torch.ones(1 << 50)


def damage_first_checkpoint() -> None:
    """The disk loses the end of a file that was just written."""
    from trainer import checkpoints

    mark = checkpoints.mark_complete

    def marked(folder: Path, state: dict[str, Any]) -> None:
        mark(folder, state)
        path = folder / "scheduler.pt"
        path.write_bytes(path.read_bytes()[:-1])

    checkpoints.mark_complete = marked


def fill_disk() -> None:
    """Say that next to nothing is free."""
    shutil.disk_usage = lambda _path: shutil._ntuple_diskusage(1 << 40, 1 << 40, 1000)  # type: ignore[attr-defined]
