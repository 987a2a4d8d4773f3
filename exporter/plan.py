"""What an export will do, checked before anything is written: inputs, tensors, types, exact sizes, disk and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.errors import require
from configs.formats import Formats
from exporter.adapters import open_adapters
from exporter.ggml import kernels, llama_child
from exporter.ggml.mixture import TypeRule
from exporter.ggml.types import QUANTIZED
from exporter.gguf_metadata import model_writer
from exporter.jobs import Encoding, gguf_jobs, huggingface_job
from exporter.machine import check_place, cores, free_bytes
from exporter.meta_output import check_fits, cut_axes, pth_jobs
from exporter.request import MergeRequest, check_type
from exporter.sinks import gguf_file, meta_pth
from exporter.sinks.huggingface import weight_bytes
from exporter.sources.hub import find_folder
from exporter.sources.huggingface import BaseModel, open_base
from exporter.sources.peft_adapter import Adapter
from exporter.sources.tokenizer_files import TokenizerFiles, find_tokenizer
from exporter.tensor import CHUNK_BYTES, ELEMENT_BYTES, LEAST_ROWS, TensorJob

_IMPORTS_BYTES = 260 << 20
"""Resident memory of Python with torch and gguf before any work (measured on Linux x86-64, torch 2.13, CPU build)."""


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """A checked merge: nothing has been written yet, and nothing about its inputs is left to be found out."""

    request: MergeRequest
    base: BaseModel
    adapters: tuple[Adapter, ...]
    tokenizer: TokenizerFiles
    formats: Formats | None
    name: str
    jobs: tuple[TensorJob, ...]
    header: bytes
    """Of the GGUF; empty for folders."""
    weight_bytes: int
    """Bytes of the GGUF, or of the weight files."""
    threads: int
    notes: tuple[str, ...] = field(default=())
    quantizer: str = ""
    """Where `as_trained`: what the base's values were made by."""

    @property
    def settings(self) -> dict[str, object]:
        """What decides the bytes besides the inputs."""
        file_type = self.request.type or self.default_type
        return {
            "format": self.request.format,
            "type": file_type,
            "name": self.name,
            "weights": [adapter.weight for adapter in self.adapters],
            "tensor_types": list(self.request.tensor_types),
            "roundings": "direct" if self.request.direct else "compat",
            **({"shards": self.shards} if self.request.format == "pth" else {}),
            "as_trained": self.quantizer,
            "kernels": kernels.kernels_name() if self._is_quantized else "torch",
        }

    @property
    def shards(self) -> int:
        """Files that a pth checkpoint is divided into."""
        return self.request.shards or 1

    @property
    def cut_axes(self) -> list[int | None]:
        """The dimension of every tensor that shards of a pth checkpoint divide."""
        return cut_axes(self.jobs, embeddings_by_rows=not self.tokenizer.has_model)

    @property
    def _is_quantized(self) -> bool:
        return any(job.target.dtype not in ELEMENT_BYTES for job in self.jobs)

    @property
    def default_type(self) -> str:
        """The type when none was asked for."""
        return "q4_0" if self.request.format == "gguf" else "base"

    @property
    def peak_memory_bytes(self) -> int:
        """Estimated peak of resident memory: imports, chunks in flight, and one tensor's LoRA factors."""
        widest = max(job.target.columns for job in self.jobs)
        chunk = max(CHUNK_BYTES, LEAST_ROWS * 4 * widest)
        ranks = max((pair.rank for adapter in self.adapters for pair in adapter.pairs.values()), default=0)
        return _IMPORTS_BYTES + 3 * self.threads * 4 * chunk + 2 * 4 * ranks * widest * len(self.adapters)

    def _type_bytes(self) -> dict[str, int]:
        sizes: Counter[str] = Counter()
        for job in self.jobs:
            sizes[job.target.dtype] += job.nbytes
        return dict(sizes)

    def summary(self) -> dict[str, Any]:
        """The plan in figures, for `--dry-run` and `--json`."""
        return {
            "output": str(self.request.output),
            "format": self.request.format,
            "base": self.base.name,
            "adapters": [adapter.name for adapter in self.adapters],
            "tensors": len(self.jobs),
            "types": dict(Counter(job.target.dtype for job in self.jobs)),
            "type_bytes": self._type_bytes(),
            "merged_tensors": sum(len(adapter.pairs) for adapter in self.adapters),
            "bytes": self.weight_bytes,
            "disk_free": free_bytes(self.request.output),
            "peak_memory_bytes": self.peak_memory_bytes,
            "threads": self.threads,
            "notes": list(self.notes),
        }


def make_plan(request: MergeRequest) -> ExportPlan:
    """Open and check every input and lay out the output.

    Raises:
        ConfigError: an argument is wrong.
        ToolError: an input is damaged, or does not fit the others.
        MachineError: an extra is missing.
    """
    check_type(request)
    require("torch", "convert")
    require("gguf", "convert")
    inputs = open_adapters(
        open_base(find_folder(request.base, "base model")),
        request.adapters,
        as_trained=request.as_trained,
        exact=request.direct,
    )
    base, adapters = inputs.base, inputs.adapters
    folders = [*(adapter.folder for adapter in reversed(adapters)), base.folder]
    check_place(request.output, folders)
    tokenizer = find_tokenizer(folders)
    formats = next((found for folder in folders if (found := Formats.from_folder(folder))), None)
    name = request.name or (request.output.stem if request.format == "gguf" else request.output.resolve().name)
    jobs, header = _lay_out(request, base, adapters, tokenizer, formats, name)
    return ExportPlan(
        request, base, adapters, tokenizer, formats, name, jobs, header,
        weight_bytes=_weight_bytes(request, jobs, header, tokenizer),
        threads=request.threads or cores(),
        notes=(*inputs.notes, *_notes(request, base, tokenizer)),
        quantizer=inputs.quantizer,
    )  # fmt: skip


def _weight_bytes(request: MergeRequest, jobs: Sequence[TensorJob], header: bytes, tokenizer: TokenizerFiles) -> int:
    if request.format == "gguf":
        return gguf_file.file_bytes(header, jobs)
    if request.format == "huggingface":
        return weight_bytes(jobs)
    return meta_pth.output_bytes(jobs, cut_axes(jobs, embeddings_by_rows=not tokenizer.has_model), request.shards or 1)


def _notes(request: MergeRequest, base: BaseModel, tokenizer: TokenizerFiles) -> tuple[str, ...]:
    if request.format != "gguf":
        missing = f"{request.base} has no tokenizer.model; the folder is written without one"
        return () if tokenizer.has_model else (missing,)
    notes = []
    if ((request.type or "q4_0") in QUANTIZED or request.tensor_types) and not kernels.has_ggml():
        notes.append(kernels.NUMPY_NOTE)
    if not llama_child.has_llama_cpp():
        notes.append("llama-cpp-python is not installed: the GGUF's tokenizer is not checked against the sources'")
    if base.config.attends_to:
        notes.append(f"the model attends to the last {base.config.attends_to:,} tokens, llama.cpp lets it see all")
    return tuple(notes)


def _lay_out(
    request: MergeRequest,
    base: BaseModel,
    adapters: Sequence[Adapter],
    tokenizer: TokenizerFiles,
    formats: Formats | None,
    name: str,
) -> tuple[tuple[TensorJob, ...], bytes]:
    if request.format == "huggingface":
        return tuple(
            huggingface_job(spec, request.type or spec.dtype, base, adapters, direct=request.direct)
            for spec in base.specs.values()
        ), b""
    if request.format == "pth":
        check_fits(base, request.shards or 1)
        return pth_jobs(base, adapters, request.type, direct=request.direct), b""
    file_type = request.type or "q4_0"
    rules = tuple(TypeRule.parse(text) for text in request.tensor_types)
    jobs = gguf_jobs(base, adapters, Encoding(file_type, rules, request.direct))
    parameters = sum(job.target.elements for job in jobs)
    writer = model_writer(base, tokenizer, formats, name=name, file_type=file_type, parameters=parameters)
    return jobs, gguf_file.header_bytes(writer, jobs)
