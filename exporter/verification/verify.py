"""Is this export what base and adapters merge to? One check after the other, each with an answer of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, ToolError, require
from exporter import manifest
from exporter.adapter_plan import plan_adapter
from exporter.as_trained import read_quantizer
from exporter.machine import cores
from exporter.plan import ExportPlan, make_plan
from exporter.request import MergeRequest
from exporter.segmentation import built_in_texts, source_ids
from exporter.tensor import ELEMENT_BYTES
from exporter.verification.check import Check
from exporter.verification.planned_again import comparable_jobs, file_type, plan_again
from exporter.verification.reference import MergedModel
from exporter.verification.written import Written, WrittenGguf, open_written

_TOKENS = 128
"""Tokens of the text whose logits are compared."""


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What the user asked `exporter verify` for."""

    path: Path
    base: str = ""
    adapters: tuple[tuple[str, float], ...] = ()
    texts: Path | None = None
    """A file with a text on every line; None for the built-in ones."""
    threads: int = 0
    """0: one for each core."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Every check, in order."""

    path: Path
    checks: tuple[Check, ...]

    @property
    def proven(self) -> bool:
        """Whether no check found a difference."""
        return all(check.status != "differs" for check in self.checks)

    def table(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"path": str(self.path), "proven": self.proven, "checks": [asdict(check) for check in self.checks]}


def verify(request: VerifyRequest) -> Verification:
    """Check an export against its manifest and its sources.

    Raises:
        ConfigError: an argument is wrong.
        ToolError: a source is damaged, or the sources do not fit each other.
        MachineError: an extra is missing.
    """
    require("torch", "convert")
    require("gguf", "convert")
    if request.adapters and not request.base:
        raise ConfigError("--adapter needs --base: adapters are proven merged into a base")
    if not request.path.exists():
        raise ConfigError(f"{request.path} does not exist")
    texts = _read_texts(request.texts) if request.texts else None
    return Verification(request.path, tuple(_checks(request, texts)))


def _checks(request: VerifyRequest, texts: Sequence[str] | None) -> Iterator[Check]:
    from exporter.verification.hashes import check_hashes

    table = manifest.read_manifest(manifest.manifest_path(request.path, is_folder=request.path.is_dir()))
    hashes = check_hashes(request.path, table)
    try:
        written = open_written(request.path)
    except ConfigError:
        raise
    except ToolError as error:
        yield from (hashes, Check("file", "differs", str(error)))
        return
    yield hashes
    if not request.base:
        for name in ("sources", "metadata", "tensor table", "tensors", "tokenizer", "logits"):
            yield Check(name, "not checked", "it needs --base, and --adapter where there was one")
    elif isinstance(written, WrittenGguf) and written.is_adapter:
        yield from _adapter_checks(request, written, table)
    else:
        yield from _model_checks(request, written, table, texts)


def _model_checks(
    request: VerifyRequest, written: Written, table: Mapping[str, Any] | None, texts: Sequence[str] | None
) -> Iterator[Check]:
    from exporter.verification.hashes import check_sources
    from exporter.verification.metadata import check_metadata
    from exporter.verification.tensors import check_tensors
    from exporter.verification.tokenizer import check_tokenizer

    sources = MergeRequest(request.base, request.adapters, "gguf", "", request.path, threads=request.threads)
    plan = plan_again(sources, written, table)
    yield check_sources(table, plan)
    yield check_metadata(written, plan)
    yield from check_tensors(written, comparable_jobs(written, plan), threads=plan.threads)
    texts = texts or built_in_texts(plan.tokenizer)
    yield from check_tokenizer(written, plan.tokenizer, texts)
    yield from _logits(written, plan, texts)


def _adapter_checks(request: VerifyRequest, written: WrittenGguf, table: Mapping[str, Any] | None) -> Iterator[Check]:
    from exporter.verification.hashes import check_sources
    from exporter.verification.metadata import check_metadata
    from exporter.verification.tensors import check_tensors

    if len(request.adapters) != 1 or request.adapters[0][1] != 1.0:
        raise ConfigError(
            f"{request.path} is an adapter alone: it is proven against one --adapter, without a weight, and its --base"
        )
    name = str((table or {}).get("name") or written.keys.get("general.name") or "")
    plan = plan_adapter(request.adapters[0][0], request.base, name=name)
    yield check_sources(table, plan)
    yield check_metadata(written, plan)
    yield from check_tensors(written, plan.jobs, threads=request.threads or cores())
    for check in ("tokenizer", "logits"):
        yield Check(check, "not checked", "an adapter alone has none; merged or plugged into its base it has")


def _logits(written: Written, plan: ExportPlan, texts: Sequence[str]) -> Iterator[Check]:
    from exporter.verification.logits import check_distances, check_logits

    if not isinstance(written, WrittenGguf):
        yield Check("logits", "not checked", "only a GGUF's are; every tensor of the folder was compared")
        return
    ids = _ids(plan, texts)
    plain = all(spec.dtype in ELEMENT_BYTES for spec in written.specs.values())
    model = _merged(plan, as_trained=plan.request.as_trained)
    yield check_logits(written, file_type(written) if plain else "quantized", model, ids)
    quantizers = {read_quantizer(adapter.folder) for adapter in plan.adapters}
    if len(quantizers) == 1 and None not in quantizers:
        bases = {"the base as trained": True, "the original base": False}
        models = {title: _merged(plan, as_trained=as_trained) for title, as_trained in bases.items()}
        yield check_distances(written, models, ids)


def _merged(plan: ExportPlan, *, as_trained: bool) -> MergedModel:
    request = replace(plan.request, format="huggingface", type="f32", tensor_types=(), as_trained=as_trained)
    return MergedModel(plan.base.config, make_plan(request).jobs)


def _ids(plan: ExportPlan, texts: Sequence[str]) -> list[int]:
    processor = plan.tokenizer.processor() if plan.tokenizer.has_model else None
    start = [processor.bos_id()] if processor and processor.bos_id() >= 0 else []
    return (start + [number for text in source_ids(plan.tokenizer, texts) for number in text])[:_TOKENS]


def _read_texts(path: Path) -> list[str]:
    try:
        texts = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--texts {path} cannot be read: {error}") from error
    texts = [text for text in texts if text]
    if not texts:
        raise ConfigError(f"--texts {path} holds no text")
    return texts
