"""Checkpoints that are either whole or not there.

transformers takes the highest numbered folder, torn or not, and skips a missing optimizer or random state in silence.
So a marker with every file's size and hash is written last; only a folder whose marker verifies is gone on from. The
best adapter so far is a part of each: what a run goes on from is one state, whenever it was killed.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from configs.atomic import fsync_file, fsync_folder, sha256_file, write_json
from trainer.work import BEST_FOLDER, CHECKPOINT_PREFIX, COMPLETE_FILE


def mark_complete(folder: Path, state: dict[str, Any]) -> None:
    """Bring every file of a checkpoint to the disk, then write its marker, which also keeps `state`."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            fsync_file(path)
            files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
        else:
            fsync_folder(path)
    write_json(folder / COMPLETE_FILE, {"files": files, "state": state})


def keep_best(work: Path, folder: Path) -> None:
    """Put the best adapter so far into a checkpoint, where there is one: a second name of the same bytes if the file
    system has such."""
    best = work / BEST_FOLDER
    if not best.is_dir():
        return
    (folder / BEST_FOLDER).mkdir(exist_ok=True)
    for path in best.iterdir():
        target = folder / BEST_FOLDER / path.name
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)


def restore_best(work: Path, folder: Path | None) -> None:
    """Make the best adapter that of a checkpoint, or none; what came after it is computed again."""
    shutil.rmtree(work / BEST_FOLDER, ignore_errors=True)
    if folder and (folder / BEST_FOLDER).is_dir():
        shutil.copytree(folder / BEST_FOLDER, work / BEST_FOLDER)


def read_marker(folder: Path) -> dict[str, Any] | None:
    """The marker of a checkpoint if every file is as it says, else None."""
    try:
        marker: dict[str, Any] = json.loads((folder / COMPLETE_FILE).read_text(encoding="utf-8"))
        for name, recorded in marker["files"].items():
            path = folder / name
            if path.stat().st_size != recorded["size"] or sha256_file(path) != recorded["sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return marker


def by_step(work: Path) -> list[Path]:
    """Checkpoint folders, oldest first, torn ones among them."""
    numbered = [
        path for path in work.glob(f"{CHECKPOINT_PREFIX}*") if path.name.removeprefix(CHECKPOINT_PREFIX).isdigit()
    ]
    return sorted(numbered, key=step_of)


def step_of(folder: Path) -> int:
    """Step that a checkpoint was written after."""
    return int(folder.name.removeprefix(CHECKPOINT_PREFIX))


def newest_complete(work: Path) -> tuple[Path | None, list[Path]]:
    """(newest whole checkpoint, torn ones that were found newer than it)."""
    torn: list[Path] = []
    for folder in reversed(by_step(work)):
        if read_marker(folder):
            return folder, torn
        torn.append(folder)
    return None, torn


def set_aside(folder: Path) -> Path:
    """Rename a torn checkpoint so that it is never taken for one."""
    aside = folder.with_name(folder.name + ".torn")
    if aside.exists():
        shutil.rmtree(aside)
    return folder.rename(aside)


def prune(work: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints."""
    for folder in by_step(work)[:-keep]:
        # The marker goes first: a removal that is cut short must not leave a folder that looks whole.
        (folder / COMPLETE_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder)
