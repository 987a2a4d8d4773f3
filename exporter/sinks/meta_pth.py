"""Meta's layout: one `consolidated.NN.pth` for each shard, every tensor's rows dealt out as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from exporter.sinks.torch_zip import TorchZip, file_bytes
from exporter.tensor import ELEMENT_BYTES, FileRecord, TensorJob, TensorSpec


class MetaSink:
    """Writes a checkpoint's shards into a folder."""

    def __init__(self, folder: Path, jobs: Sequence[TensorJob], axes: Sequence[int | None], shards: int) -> None:
        """Start every shard.

        Args:
            axes: for each job, the dimension that is divided; None for a copy in each shard.
        """
        cuts = [shard_specs(jobs, axes, number, shards) for number in range(shards)]
        self._cuts = {job.target.name: parts for job, *parts in zip(jobs, *cuts, strict=True)}
        self._axes = {job.target.name: axis for job, axis in zip(jobs, axes, strict=True)}
        self._names = [f"consolidated.{number:02d}.pth" for number in range(shards)]
        self._job: TensorJob | None = None
        self._row = 0
        with ExitStack() as opened:
            self._files: list[TorchZip] = []
            for name, specs in zip(self._names, cuts, strict=True):
                self._files.append(TorchZip(folder / name, name.removesuffix(".pth"), specs))
                opened.callback(self._files[-1].abort)
            opened.pop_all()

    def begin(self, job: TensorJob) -> None:
        """Start a tensor."""
        self._job, self._row = job, 0

    def write(self, rows: memoryview) -> None:
        """Deal out the tensor's next rows."""
        assert self._job is not None
        target = self._job.target
        axis, parts = self._axes[target.name], self._cuts[target.name]
        row_bytes = target.columns * ELEMENT_BYTES[target.dtype]
        count = len(rows) // row_bytes
        if axis is None:
            for file in self._files:
                file.write(rows)
        elif axis == 1:
            self._write_columns(rows, count)
        else:
            first = 0
            for file, part in zip(self._files, parts, strict=True):
                start, stop = max(self._row, first), min(self._row + count, first + part.rows)
                if start < stop:
                    file.write(rows[(start - self._row) * row_bytes : (stop - self._row) * row_bytes])
                first += part.rows
        self._row += count

    def _write_columns(self, rows: memoryview, count: int) -> None:
        import numpy as np

        table = np.frombuffer(rows, np.uint8).reshape(count, len(self._files), -1)
        for number, file in enumerate(self._files):
            file.write(table[:, number].tobytes())

    def finish(self) -> Mapping[str, FileRecord]:
        """Close every shard."""
        return {name: file.finish() for name, file in zip(self._names, self._files, strict=True)}

    def abort(self) -> None:
        """Close after a failure."""
        for file in self._files:
            file.abort()


def shard_specs(jobs: Sequence[TensorJob], axes: Sequence[int | None], number: int, shards: int) -> list[TensorSpec]:
    """What one shard holds of every tensor."""
    return [_part(job.target, axis, number, shards) for job, axis in zip(jobs, axes, strict=True)]


def output_bytes(jobs: Sequence[TensorJob], axes: Sequence[int | None], shards: int) -> int:
    """Exact size of all shards."""
    stems = [f"consolidated.{number:02d}" for number in range(shards)]
    return sum(file_bytes(stem, shard_specs(jobs, axes, number, shards)) for number, stem in enumerate(stems))


def _part(spec: TensorSpec, axis: int | None, number: int, shards: int) -> TensorSpec:
    """A shard's share of a tensor; where rows do not divide evenly, the last shard takes what is left."""
    if axis is None:
        return spec
    size = spec.shape[axis] // shards
    if number == shards - 1:
        size = spec.shape[axis] - size * (shards - 1)
    shape = tuple(size if dimension == axis else whole for dimension, whole in enumerate(spec.shape))
    return TensorSpec(spec.name, shape, spec.dtype)
