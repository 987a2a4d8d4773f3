"""Every tensor's bytes against the sources, merged once more on the fly."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from exporter.sources.weight_files import some
from exporter.tensor import TensorJob, row_chunks
from exporter.verification.check import Check
from exporter.verification.written import Written


def check_tensors(written: Written, jobs: Sequence[TensorJob], *, threads: int) -> list[Check]:
    """Names, shapes and types; then bytes, of the tensors that are there in the right shape and type."""
    misfits = _misfits(written, jobs)
    comparable = [job for job in jobs if job.target.name not in misfits and job.target.name in written.specs]
    checks = [Check("tensor table", "differs" if misfits else "ok", _table_sentence(misfits, len(jobs)))]
    if not comparable:
        return [*checks, Check("tensors", "not checked", "no tensor is there in the planned shape and type")]
    with ThreadPoolExecutor(threads, thread_name_prefix="verify", initializer=_one_thread_each) as pool:
        places = list(pool.map(functools.partial(_first_difference, written), comparable))
    wrong = [(job.target.name, place) for job, place in zip(comparable, places, strict=True) if place is not None]
    if not wrong:
        size = sum(job.nbytes for job in comparable)
        return [
            *checks,
            Check("tensors", "ok", f"all {size:,} bytes of {len(comparable)} tensors are the sources', merged"),
        ]
    name, row = wrong[0]
    count = f"{len(wrong)} of {len(comparable)} tensors"
    sentence = f"{count} are not the sources', merged: the first is {name}, from row {row} on"
    return [*checks, Check("tensors", "differs", sentence)]


def _misfits(written: Written, jobs: Sequence[TensorJob]) -> dict[str, str]:
    """What is wrong with a tensor before its bytes are read, by name."""
    found = {}
    for job in jobs:
        planned, there = job.target, written.specs.get(job.target.name)
        if there is None:
            found[planned.name] = f"{planned.name} is missing"
        elif there.shape != planned.shape:
            found[planned.name] = f"{planned.name} is {there.shape}, the sources' is {planned.shape}"
        elif there.dtype.lower() != planned.dtype.lower():
            found[planned.name] = (
                f"{planned.name} is {there.dtype}, by the rules of this type it should be {planned.dtype}"
            )
    planned_names = {job.target.name for job in jobs}
    return found | {name: f"{name} is in no source" for name in written.specs if name not in planned_names}


def _table_sentence(misfits: dict[str, str], count: int) -> str:
    return (
        some(list(misfits.values()), most=4) if misfits else f"{count} tensors in the sources' names, shapes and types"
    )


def _first_difference(written: Written, job: TensorJob) -> int | None:
    """The first row of the first chunk that differs; None where all bytes are equal."""
    transforms = job.transforms()
    for start, stop in row_chunks(job.target, unit=job.row_unit):
        rows = job.read(start, stop)
        for transform in transforms:
            rows = transform(rows, start)
        expected, there = bytes(job.encode(rows)), bytes(written.read(job.target.name, start, stop))
        if expected != there:
            row_bytes = len(expected) // (stop - start)
            place = next((i for i, (a, b) in enumerate(zip(expected, there, strict=False)) if a != b), len(there))
            return start + place // row_bytes
    return None


def _one_thread_each() -> None:
    import torch

    torch.set_num_threads(1)
