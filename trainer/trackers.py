"""Other programs' records of a run, beside metrics.jsonl: TensorBoard's, and W&B's offline one."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from configs.errors import ConfigError, MachineError

_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}

TRACKER_FOLDERS = tuple(_PACKAGES)
"""Folders in the work folder, and then in the adapter folder, that they write."""


def parse_trackers(text: str) -> tuple[str, ...]:
    """The names in `tensorboard,wandb`, each once.

    Raises:
        ConfigError: an unknown name.
        MachineError: its package is not installed.
    """
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in _PACKAGES:
            raise ConfigError(f"--report-to {name}: there are {', '.join(_PACKAGES)}")
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise MachineError(
                f"--report-to {name}: the package {name} is not installed", hint=f"pip install {_PACKAGES[name]}"
            )
    return names


class Tracker(Protocol):
    """Takes the numbers of a step."""

    def take(self, step: int, values: Mapping[str, float]) -> None:
        """Record some numbers of a step."""
        ...

    def close(self) -> None:
        """Bring everything to the disk."""
        ...


def open_trackers(names: Sequence[str], work: Path, name: str, settings: Mapping[str, Any], step: int) -> list[Tracker]:
    """Trackers that write into the work folder.

    Args:
        name: what the run is called.
        step: the step that the run goes on from; what was recorded after it is taken back.
    """
    trackers: list[Tracker] = []
    if "tensorboard" in names:
        trackers.append(_TensorBoard(work / "tensorboard", step))
    if "wandb" in names:
        trackers.append(_Wandb(work, name, settings))
    return trackers


class _TensorBoard:
    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def take(self, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, work: Path, name: str, settings: Mapping[str, Any]) -> None:
        import wandb

        # Offline: nothing is asked of the network; `wandb sync` sends the folder where its owner wants to.
        self._run = wandb.init(
            project="lora2edge", name=name, dir=str(work), config=dict(settings), mode="offline",
            settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def take(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
