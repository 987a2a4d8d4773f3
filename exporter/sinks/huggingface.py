"""Safetensors shards: header first (its size is known up front), then every tensor's rows; an index for several."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.sinks.output_file import OutputFile
from exporter.tensor import FileRecord, TensorJob

SHARD_BYTES = 5_000_000_000
_DTYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


class HuggingfaceSink:
    """Writes a checkpoint's weight files into a folder."""

    def __init__(self, folder: Path, jobs: Sequence[TensorJob], *, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder = folder
        self._jobs = tuple(jobs)
        self._shards = plan_shards(jobs, shard_bytes)
        self._names = shard_names(len(self._shards))
        self._next = iter(zip(self._names, self._shards, strict=True))
        self._first = {shard[0].target.name for shard in self._shards}
        self._file: OutputFile | None = None
        self._open_name = ""
        self._records: dict[str, FileRecord] = {}

    def begin(self, job: TensorJob) -> None:
        """Start a tensor, and the next shard with it where one begins."""
        if job.target.name in self._first:
            self._close()
            self._open_name, shard = next(self._next)
            header = shard_header(shard)
            self._file = OutputFile(self._folder / self._open_name, len(header) + sum(job.nbytes for job in shard))
            self._file.write(header)

    def write(self, rows: memoryview) -> None:
        """Append the bytes of the tensor's next rows."""
        assert self._file is not None
        self._file.write(rows)

    def finish(self) -> Mapping[str, FileRecord]:
        """Close the last shard and write the index, if there are several shards."""
        self._close()
        if len(self._shards) > 1:
            self._write_index()
        return self._records

    def abort(self) -> None:
        """Close after a failure."""
        if self._file is not None:
            self._file.abort()

    def _close(self) -> None:
        if self._file is not None:
            self._records[self._open_name] = self._file.finish()
            self._file = None

    def _write_index(self) -> None:
        home = {job.target.name: name for name, shard in zip(self._names, self._shards, strict=True) for job in shard}
        index = {"metadata": {"total_size": sum(job.nbytes for job in self._jobs)}, "weight_map": home}
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        name = "model.safetensors.index.json"
        file = OutputFile(self._folder / name, len(text.encode()))
        file.write(text.encode())
        self._records[name] = file.finish()


def plan_shards(jobs: Sequence[TensorJob], shard_bytes: int) -> list[list[TensorJob]]:
    """Cut the tensors, in order, into files of at most `shard_bytes` (a larger tensor gets a file of its own)."""
    shards: list[list[TensorJob]] = []
    size = 0
    for job in jobs:
        if not shards or size + job.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(job)
        size += job.nbytes
    return shards


def shard_names(count: int) -> list[str]:
    """`model.safetensors`, or `model-00001-of-00003.safetensors` and so on."""
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def shard_header(jobs: Sequence[TensorJob]) -> bytes:
    """The length and JSON header of a safetensors file that holds these tensors, padded to 8 bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for job in jobs:
        spec = job.target
        entries[spec.name] = {
            "dtype": _DTYPES[spec.dtype], "shape": list(spec.shape), "data_offsets": [offset, offset + job.nbytes]
        }  # fmt: skip
        offset += job.nbytes
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def weight_bytes(jobs: Sequence[TensorJob]) -> int:
    """Bytes of all tensors."""
    return sum(job.nbytes for job in jobs)


def make_readable(folder: Path) -> None:
    """Give every file the mode that the umask asks for (copies of files made with mode 0600 keep it otherwise)."""
    umask = os.umask(0)
    os.umask(umask)
    for file in folder.rglob("*"):
        file.chmod((0o777 if file.is_dir() else 0o666) & ~umask)
