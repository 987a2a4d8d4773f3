"""How long an export will take on this machine: one chunk of each kind of tensor is converted, timed, and dropped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.plan import ExportPlan
from exporter.sizes import size_text
from exporter.tensor import TensorJob, row_chunks


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time and traffic of an export."""

    seconds: float
    """Of conversion, by all threads together, while the disk keeps up."""
    read_bytes: int
    write_bytes: int

    def text(self) -> str:
        """In one line, with the disk speed below which it takes longer."""
        speed = int((self.read_bytes + self.write_bytes) / max(self.seconds, 1e-3))
        return (
            f"about {_seconds(self.seconds)} (a chunk of each kind was timed), more where the disk moves less than "
            f"{size_text(speed)} a second: {size_text(self.read_bytes)} are read, {size_text(self.write_bytes)} written"
        )


def estimate(plan: ExportPlan) -> Estimate:
    """Time a chunk of every kind of tensor in the plan."""
    kinds: dict[tuple[str, bool], list[TensorJob]] = {}
    for job in plan.jobs:
        kinds.setdefault((job.target.dtype, _is_merged(plan, job)), []).append(job)
    work = sum(_seconds_a_weight(jobs) * sum(job.target.elements for job in jobs) for jobs in kinds.values())
    weights = [plan.base.weights, *(adapter.weights for adapter in plan.adapters)]
    inputs = {file.path for source in weights for file in source.files}
    return Estimate(work / plan.threads, _size(inputs), plan.weight_bytes)


def _is_merged(plan: ExportPlan, job: TensorJob) -> bool:
    return bool(job.transforms()) if plan.adapters and len(job.target.shape) > 1 else False


def _seconds_a_weight(jobs: Sequence[TensorJob]) -> float:
    """From one chunk of the largest tensor. The second run counts: the first also loads libraries and pages."""
    job = max(jobs, key=lambda job: job.target.elements)
    start, stop = next(row_chunks(job.target, unit=job.row_unit))
    transforms = job.transforms()
    seconds = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        rows = job.read(start, stop)
        for transform in transforms:
            rows = transform(rows, start)
        job.encode(rows)
        seconds = time.perf_counter() - begin
    return seconds / ((stop - start) * job.target.columns)


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _seconds(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{max(seconds, 0.1):.1f} s"
