"""The work folder of a run, beside its output: job, progress, checkpoints, the best adapter so far, log."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from configs.atomic import write_json
from configs.errors import ToolError

JOB_FILE = "job.json"
PROGRESS_FILE = "progress.jsonl"
ERROR_FILE = "error.json"
LOG_FILE = "fit.log"
LOCK_FILE = "lock"
METRICS_FILE = "metrics.jsonl"
BEST_FOLDER = "best"
CHECKPOINT_PREFIX = "checkpoint-"
COMPLETE_FILE = "complete.json"

_NOTES_OF_ONE_START = {PROGRESS_FILE, ERROR_FILE, LOG_FILE}


def has_checkpoints(work: Path) -> bool:
    """Whether a work folder holds a checkpoint that was written whole; the one before the first step is none."""
    return any(
        path.parent.name != f"{CHECKPOINT_PREFIX}0" for path in work.glob(f"{CHECKPOINT_PREFIX}*/{COMPLETE_FILE}")
    )


def clear_work(work: Path, *, keep_checkpoints: bool) -> None:
    """Empty a work folder but for its lock; to resume, only what the last start left of notes goes."""
    for path in work.iterdir():
        if path.name == LOCK_FILE or (keep_checkpoints and path.name not in _NOTES_OF_ONE_START):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


class Reporter:
    """The training process's way to its launcher: lines appended to a file. Only rank 0 narrates."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self.is_first = int(os.environ.get("RANK", "0")) == 0

    def say(self, sentence: str) -> None:
        """Tell the user something."""
        self._append({"say": sentence})

    def progress(self, done: int, total: int, note: str) -> None:
        """Say how many steps are done."""
        self._append({"done": done, "total": total, "note": note})

    def error(self, error: ToolError) -> None:
        """Leave the sentence that the launcher is to end with; the first rank that fails has the word."""
        path = self._work / ERROR_FILE
        if not path.exists():
            write_json(path, {"message": error.message, "hint": error.hint, "exit_code": error.exit_code})

    def _append(self, event: dict[str, object]) -> None:
        if self.is_first:
            with (self._work / PROGRESS_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, ensure_ascii=False) + "\n")
