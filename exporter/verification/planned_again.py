"""The plan that must have made an export: the user's sources; types and roundings by its manifest, else by itself.

A file of `exporter quantize` has been through two encodings or more: the manifest of the file that it was made from,
carried on in its own, says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from configs.errors import ToolError
from exporter.ggml.kernels import encoder
from exporter.ggml.mixture import can_be_quantized
from exporter.ggml.types import FILE_TYPES
from exporter.plan import ExportPlan, make_plan
from exporter.request import MergeRequest
from exporter.sources.huggingface import EMBEDDINGS, OUTPUT
from exporter.tensor import TensorJob, torch_dtype
from exporter.verification.written import Written, WrittenGguf

Table = Mapping[str, Any]


def plan_again(sources: MergeRequest, written: Written, table: Table | None) -> ExportPlan:
    """The plan of an export.

    Args:
        sources: base, adapters, threads and the export's own path.
        table: the manifest, where there is one.

    Raises:
        ToolError: the sources do not fit each other, or the file's type is none of this exporter's.
    """
    tables = _history(table)
    first = _request(sources, written, tables[-1])
    plans = [make_plan(first)]
    for later in reversed(tables[:-1]):
        again = replace(first, type=_type(written, later), tensor_types=tuple(later.get("tensor_types") or ()))
        plan = make_plan(again)
        by_name = {job.target.name: job for job in plans[-1].jobs}
        plans.append(replace(plan, jobs=tuple(_encoded_again(by_name[job.target.name], job) for job in plan.jobs)))
    return plans[-1]


def origin(table: Table) -> Table:
    """The manifest of the merge at the beginning; as much of it as is known."""
    return _history(table)[-1]


def _history(table: Table | None) -> list[Table]:
    """The export's manifest, that of the file it was quantized from, and so on; the merge is the last."""
    tables = [table or {}]
    while isinstance(source := tables[-1].get("source"), Mapping):
        tables.append(source.get("manifest") or {"type": source.get("type") or "f16"})
    return tables


def _request(sources: MergeRequest, written: Written, table: Table) -> MergeRequest:
    return replace(
        sources,
        format="gguf" if isinstance(written, WrittenGguf) else written.format,
        type=_type(written, table),
        name=str(table.get("name") or written.keys.get("general.name") or ""),
        tensor_types=tuple(table.get("tensor_types") or ()),
        direct=table.get("roundings") == "direct",
        shards=int(table.get("shards") or 0),
        as_trained=bool(table.get("as_trained")),
    )


def _type(written: Written, table: Table) -> str:
    """The type asked for; empty for a folder in its base's."""
    found = str(
        table.get("type") or (file_type(written) if isinstance(written, WrittenGguf) else _folder_type(written))
    )
    return "" if found == "base" else found


def _encoded_again(before: TensorJob, planned: TensorJob) -> TensorJob:
    """A tensor that was written as `before` says, read, and written in the type of `planned`."""
    import torch

    name, dtype = before.target.name, before.target.dtype
    if dtype == planned.target.dtype or not can_be_quantized(before.target):
        return before
    encode = encoder(planned.target.dtype, tensor_name=name, through_f16=False)

    def encode_twice(rows: torch.Tensor) -> memoryview:
        stored = torch.frombuffer(bytearray(before.encode(rows)), dtype=torch_dtype(dtype))
        return encode(stored.view(rows.shape))

    return replace(before, target=planned.target, nbytes=planned.nbytes, encode=encode_twice)


def comparable_jobs(written: Written, plan: ExportPlan) -> Sequence[TensorJob]:
    """The tensors as `written` names them: a pth folder is read as a huggingface one, its tied output written out."""
    if isinstance(written, WrittenGguf) or written.format == "huggingface":
        return plan.jobs
    jobs = make_plan(replace(plan.request, format="huggingface", shards=0)).jobs
    if any(job.target.name == OUTPUT for job in jobs):
        return jobs
    embeddings = next(job for job in jobs if job.target.name == EMBEDDINGS)
    return [*jobs, replace(embeddings, target=replace(embeddings.target, name=OUTPUT))]


def file_type(written: Written) -> str:
    """The type that a GGUF says it is of."""
    number = written.keys.get("general.file_type")
    for name, known in FILE_TYPES.items():
        if known == number:
            return name
    raise ToolError(f"{written.path} has file type {number}, which this exporter does not write")


def _folder_type(written: Written) -> str:
    types = {spec.dtype for spec in written.specs.values()}
    return types.pop() if len(types) == 1 else "base"
