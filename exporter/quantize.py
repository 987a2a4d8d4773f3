"""GGUF -> GGUF of another type, in the same streaming pass: the file that llama-quantize makes of it, byte for byte."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done
from configs.errors import ConfigError, ToolError, require
from exporter import manifest
from exporter.fingerprint import TOOL, file_fingerprint, tool_version
from exporter.ggml import kernels
from exporter.ggml.mixture import ModelShape, TypeRule, can_be_quantized, choose_types
from exporter.ggml.types import EXPORT_TYPES, FILE_TYPES, QUANTIZATION_VERSION, tensor_bytes
from exporter.machine import check_disk, cores
from exporter.merge import MergeResult, check_replaceable, write_gguf
from exporter.sinks.gguf_file import file_bytes, header_of_entries, number_entry
from exporter.sources.gguf_file import GgufFile
from exporter.tensor import ELEMENT_BYTES, FileRecord, TensorJob, TensorSpec
from exporter.transforms.tensor_names import gguf_order

_log = logging.getLogger(__name__)

_ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Whose type rules are known here."""

_VERSION_KEY, _TYPE_KEY = "general.quantization_version", "general.file_type"
_SPLIT_KEYS = {"split.no", "split.count", "split.tensors.count"}


@dataclass(frozen=True, slots=True)
class QuantizeRequest:
    """What the user asked `exporter quantize` for."""

    source: Path
    type: str
    output: Path
    tensor_types: tuple[str, ...] = ()
    threads: int = 0
    overwrite: bool = False


def quantize_file(request: QuantizeRequest) -> MergeResult:
    """Write a GGUF's weights in another type; its metadata goes along, the keys of the type aside.

    Raises:
        ConfigError: an argument is wrong, or something else stands at the output.
        ToolError: the input is damaged, quantized already, or of a model whose type rules are not known.
        MachineError: the disk is too small, or the type needs llama-cpp-python.
    """
    start = time.monotonic()
    if request.type not in EXPORT_TYPES:
        raise ConfigError(f"--type {request.type} is none of {', '.join(EXPORT_TYPES)}")
    rules = tuple(TypeRule.parse(text) for text in request.tensor_types)
    require("torch", "convert")
    require("gguf", "convert")
    source = GgufFile(request.source)
    if request.output.resolve() == request.source.resolve():
        raise ConfigError(f"--output {request.output} is the input itself")
    check_replaceable(request.output, is_folder=False)
    jobs = _jobs(source, request.type, rules)
    settings = _settings(request, jobs)
    inputs = file_fingerprint(settings, request.source)
    recorded = manifest.recorded_fingerprint(request.output, is_folder=False)
    if output_is_done(request.output, recorded=recorded, wanted=inputs, overwrite=request.overwrite):
        table = manifest.read_manifest(manifest.manifest_path(request.output, is_folder=False)) or {}
        return MergeResult(request.output, table["files"], True, time.monotonic() - start)
    header = header_of_entries(_entries(source, request.type), jobs)
    check_disk(request.output, file_bytes(header, jobs))
    describe = functools.partial(_manifest, settings, source, inputs)
    threads = request.threads or cores()
    records = write_gguf(request.output, header, jobs, describe, threads=threads, title="quantize")
    files = {name: {"size": record.size, "sha256": record.sha256} for name, record in records.items()}
    return MergeResult(request.output, files, False, time.monotonic() - start)


def _jobs(source: GgufFile, file_type: str, rules: Sequence[TypeRule]) -> list[TensorJob]:
    types = choose_types(source.specs, file_type, _shape(source), rules)
    return [_job(source, source.specs[name], types[name]) for name in sorted(source.specs, key=gguf_order)]


def _shape(source: GgufFile) -> ModelShape:
    """What the type rules ask of the model, from its metadata."""
    architecture = source.value("general.architecture")
    if source.value("general.type") not in (None, "model") or architecture not in _ARCHITECTURES:
        raise ToolError(
            f"{source.path} holds no model of {', '.join(_ARCHITECTURES)}: its type is "
            f"{source.value('general.type') or 'model'}, its architecture {architecture}"
        )
    if source.value(f"{architecture}.expert_count"):
        raise ToolError(f"{source.path} holds a mixture of experts; only dense models can be quantized")
    count = source.value("split.count")
    if isinstance(count, int) and count > 1:
        raise ToolError(
            f"{source.path} is one of {count} parts", hint="llama-gguf-split --merge makes one file of them"
        )
    layers, heads = (source.value(f"{architecture}.{key}") for key in ("block_count", "attention.head_count"))
    kv_heads = source.value(f"{architecture}.attention.head_count_kv") or heads
    if not all(isinstance(number, int) and number > 0 for number in (layers, heads, kv_heads)):
        raise ToolError(f"{source.path} does not say how many layers and heads its model has")
    return ModelShape(str(architecture), int(layers or 0), int(heads or 0), int(kv_heads or 0))


def _job(source: GgufFile, spec: TensorSpec, dtype: str) -> TensorJob:
    if not _changes(spec, dtype):
        dtype = spec.dtype
    elif spec.dtype not in ELEMENT_BYTES:
        raise ToolError(
            f"{source.path} is quantized already: {spec.name} is {spec.dtype}, and rounding twice costs twice",
            hint="quantize the f32, f16 or bf16 file that it was made from; exporter merge --type f16 makes one",
        )
    plain = spec.dtype in ELEMENT_BYTES
    encode = kernels.encoder(dtype, tensor_name=spec.name, through_f16=False) if plain else kernels.plain_bytes
    return TensorJob(
        TensorSpec(spec.name, spec.shape, dtype),
        tensor_bytes(spec, dtype),
        functools.partial(source.read_rows, spec.name),
        list,
        encode,
    )


def _changes(spec: TensorSpec, dtype: str) -> bool:
    """Whether a tensor is written in another type than it has; vectors and norms never are."""
    return spec.dtype != dtype and can_be_quantized(spec)


def _entries(source: GgufFile, file_type: str) -> list[bytes]:
    """The input's metadata in its order; the two keys of the type at the end, where llama-quantize puts them."""
    dropped = {_VERSION_KEY, _TYPE_KEY, *_SPLIT_KEYS}
    kept = [entry.raw for key, entry in source.entries.items() if key not in dropped]
    return [
        *kept,
        number_entry(_VERSION_KEY, QUANTIZATION_VERSION),
        number_entry(_TYPE_KEY, FILE_TYPES[file_type]),
    ]


def _settings(request: QuantizeRequest, jobs: Sequence[TensorJob]) -> dict[str, object]:
    quantizes = any(job.target.dtype not in ELEMENT_BYTES for job in jobs)
    if quantizes and not kernels.has_ggml():
        _log.warning("exporter: %s", kernels.NUMPY_NOTE)
    return {
        "format": "gguf",
        "type": request.type,
        "tensor_types": list(request.tensor_types),
        "kernels": kernels.kernels_name() if quantizes else "torch",
    }


def _manifest(
    settings: Mapping[str, object], source: GgufFile, inputs: str, records: Mapping[str, FileRecord]
) -> dict[str, Any]:
    return {
        "tool": TOOL,
        "version": tool_version(),
        **settings,
        "fingerprint": inputs,
        "files": {name: {"size": record.size, "sha256": record.sha256} for name, record in records.items()},
        "source": _describe(source),
    }


def _describe(source: GgufFile) -> dict[str, Any]:
    """The input, and what its own manifest knows of it: base, adapters, weights, roundings."""
    types = {number: name for name, number in FILE_TYPES.items()}
    number = source.value(_TYPE_KEY)
    known = manifest.manifest_of(source.path)
    return {
        "name": source.path.name,
        "size": source.size,
        "header_sha256": source.header_sha256,
        **({"type": types[number]} if isinstance(number, int) and number in types else {}),
        **({"manifest": known} if known else {}),
    }
