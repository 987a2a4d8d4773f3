"""What DeepSpeed leaves in shared memory goes, and what somebody still uses stays."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import pytest

from trainer import shared_memory


def segment(folder: Path, name: str, *, age: float = 60) -> Path:
    path = folder / name
    path.write_bytes(b"x" * mmap.PAGESIZE)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_segments_that_no_process_holds_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "_FOLDER", tmp_path)
    mine = f"deepspeed_allreduce_buffer_{os.getuid()}"
    left = segment(tmp_path, f"{mine}_127.0.0.1_4000_0")
    held = segment(tmp_path, f"{mine}_127.0.0.1_4001_0")
    fresh = segment(tmp_path, f"{mine}_127.0.0.1_4002_0", age=0)
    others = segment(tmp_path, f"deepspeed_allreduce_buffer_{os.getuid() + 1}_127.0.0.1_4003_0")
    stranger = segment(tmp_path, "sem.something")
    with held.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        shared_memory.remove_orphans()
        assert not left.exists()
        assert all(path.exists() for path in (held, fresh, others, stranger))
    shared_memory.remove_orphans()
    assert not held.exists()
