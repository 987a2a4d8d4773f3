"""The pass: for every tensor, rows are read, transformed, encoded and written, in chunks of about a megabyte.

Chunks of one or several tensors are in flight at once (a pool of threads: torch, ggml and file reads release the GIL),
yet they are written in order by the calling thread, which hashes them as they pass. Memory is what is in flight and
one tensor's LoRA factors, whatever the model's size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from configs.progress import Progress
from exporter.allocator import keep_freed_memory
from exporter.tensor import CHUNK_BYTES, RowTransform, TensorJob, TensorSink, row_chunks

_AHEAD = 6
"""Chunks in flight for each thread: with 2, workers waited a sixth of the time for the writer (q8_0); with 6 a
twentieth."""


def run_pass(
    jobs: Sequence[TensorJob], sink: TensorSink, *, threads: int, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Progress]:
    """Send every job's rows to the sink, in the order given.

    Args:
        threads: chunks worked on at once; the bytes do not depend on it.
        chunk_bytes: float32 bytes in a chunk; the bytes do not depend on it.

    Yields:
        Tensors written so far.
    """
    keep_freed_memory()
    with ThreadPoolExecutor(threads, thread_name_prefix="export", initializer=_one_thread_each) as pool:
        waiting: deque[tuple[TensorJob, bool, bool, Future[memoryview]]] = deque()
        done = 0
        try:
            for job, first, last, start, stop, transforms in _chunks(jobs, chunk_bytes):
                waiting.append((job, first, last, pool.submit(_convert, job, transforms, start, stop)))
                if len(waiting) > _AHEAD * threads:
                    done += _write(waiting, sink)
                    yield Progress(done, len(jobs), "tensors", job.target.name)
            while waiting:
                done += _write(waiting, sink)
                yield Progress(done, len(jobs), "tensors")
        finally:
            for *_, future in waiting:
                future.cancel()


def _chunks(
    jobs: Sequence[TensorJob], chunk_bytes: int
) -> Iterator[tuple[TensorJob, bool, bool, int, int, Sequence[RowTransform]]]:
    for job in jobs:
        transforms = job.transforms()
        for start, stop in row_chunks(job.target, unit=job.row_unit, chunk_bytes=chunk_bytes):
            yield job, start == 0, stop == job.target.rows, start, stop, transforms


def _convert(job: TensorJob, transforms: Sequence[RowTransform], start: int, stop: int) -> memoryview:
    rows = job.read(start, stop)
    for transform in transforms:
        rows = transform(rows, start)
    return job.encode(rows)


def _write(waiting: deque[tuple[TensorJob, bool, bool, Future[memoryview]]], sink: TensorSink) -> int:
    job, first, last, future = waiting.popleft()
    if first:
        sink.begin(job)
    sink.write(future.result())
    return int(last)


def _one_thread_each() -> None:
    # The pool is the parallelism: a BLAS that starts threads of its own inside every worker only gets in the way.
    import torch

    torch.set_num_threads(1)
