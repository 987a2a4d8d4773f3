"""Carrying out a plan: staged output, the pass, small files, manifest."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done, staged_file, staged_folder
from configs.errors import ConfigError
from configs.formats import FORMAT_FILE
from configs.progress import show
from exporter import manifest
from exporter.fingerprint import TOOL, plan_fingerprint
from exporter.machine import check_disk
from exporter.meta_layout import PARAMS
from exporter.meta_output import params_table
from exporter.pipeline import run_pass
from exporter.plan import ExportPlan
from exporter.segmentation import check_segmentation
from exporter.sinks.gguf_file import GgufSink
from exporter.sinks.huggingface import HuggingfaceSink, make_readable
from exporter.sinks.meta_pth import MetaSink
from exporter.tensor import FileRecord, TensorJob, TensorSink

_TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What an export made, or found already made."""

    output: Path
    files: Mapping[str, Any]
    already_made: bool
    seconds: float


def run_merge(plan: ExportPlan) -> MergeResult:
    """Carry out a plan, unless its output stands already.

    Raises:
        ConfigError: something else stands there, and `overwrite` is not set.
        MachineError: the disk is too small.
        ToolError: a value that the output's type cannot hold.
        OSError: the disk filled up on the way; nothing is left under the final name.
    """
    start = time.monotonic()
    output, is_folder = plan.request.output, plan.request.format != "gguf"
    inputs = plan_fingerprint(plan)
    check_replaceable(output, is_folder=is_folder)
    recorded = manifest.recorded_fingerprint(output, is_folder=is_folder)
    table = manifest.read_manifest(manifest.manifest_path(output, is_folder=is_folder)) or {}
    own = (*table["files"], manifest.FOLDER_MANIFEST) if table.get("tool") == TOOL else ()
    if output_is_done(output, recorded=recorded, wanted=inputs, overwrite=plan.request.overwrite, own=own):
        return MergeResult(output, table["files"], True, time.monotonic() - start)
    check_disk(output, plan.weight_bytes)
    records = _write_folder(plan, inputs) if is_folder else _write_gguf(plan, inputs)
    files = {name: {"size": record.size, "sha256": record.sha256} for name, record in records.items()}
    return MergeResult(output, files, False, time.monotonic() - start)


def check_replaceable(output: Path, *, is_folder: bool) -> None:
    """Refuse a file where a folder is to be, a folder where a file is to be, and devices."""
    if output.exists() and not (output.is_file() or output.is_dir()):
        raise ConfigError(f"--output {output} is neither file nor folder")
    if is_folder and output.is_file():
        raise ConfigError(f"--output {output} is a file; this format is a folder")
    if not is_folder and output.is_dir():
        raise ConfigError(
            f"--output {output} is a folder; --format gguf writes a file", hint=f"{output / 'model.gguf'}"
        )


def _write_gguf(plan: ExportPlan, inputs: str) -> Mapping[str, FileRecord]:
    describe = functools.partial(
        manifest.make_manifest, plan.settings, base=plan.base, adapters=plan.adapters, inputs=inputs
    )
    return write_gguf(
        plan.request.output, plan.header, plan.jobs, describe,
        threads=plan.threads,
        title="merge" if plan.adapters else "convert",
        check=functools.partial(check_segmentation, tokenizer=plan.tokenizer, formats=plan.formats),
    )  # fmt: skip


def write_gguf(
    output: Path,
    header: bytes,
    jobs: Sequence[TensorJob],
    describe: Callable[[Mapping[str, FileRecord]], dict[str, Any]],
    *,
    threads: int,
    title: str,
    check: Callable[[Path], None] | None = None,
) -> Mapping[str, FileRecord]:
    """Write a GGUF and the manifest beside it, both or neither.

    Args:
        describe: the manifest's table, from what was written.
        title: of the progress bar.
        check: raises if the file is not what it should be; it is removed then.
    """
    beside = manifest.manifest_path(output, is_folder=False)
    with staged_file(beside) as staged_manifest, staged_file(output) as staged:
        with _closing(GgufSink(staged, output.name, header, jobs)) as sink:
            show(run_pass(jobs, sink, threads=threads), title)
            records = sink.finish()
        if check:
            check(staged)
        staged_manifest.write_text(_json(describe(records)), encoding="utf-8", newline="\n")
        # From here until both files are renamed there is no manifest, rather than that of the file before.
        beside.unlink(missing_ok=True)
    return records


def _write_folder(plan: ExportPlan, inputs: str) -> Mapping[str, FileRecord]:
    with staged_folder(plan.request.output) as folder:
        with _closing(_folder_sink(plan, folder)) as sink:
            show(run_pass(plan.jobs, sink, threads=plan.threads), "merge" if plan.adapters else "convert")
            records = dict(sink.finish())
        for name in _write_small_files(plan, folder):
            records[name] = manifest.file_record(folder / name)
        table = manifest.make_manifest(plan.settings, records, base=plan.base, adapters=plan.adapters, inputs=inputs)
        (folder / manifest.FOLDER_MANIFEST).write_text(_json(table), encoding="utf-8", newline="\n")
        make_readable(folder)
    return records


def _folder_sink(plan: ExportPlan, folder: Path) -> TensorSink:
    if plan.request.format == "pth":
        return MetaSink(folder, plan.jobs, plan.cut_axes, plan.shards)
    return HuggingfaceSink(folder, plan.jobs)


@contextmanager
def _closing(sink: TensorSink) -> Iterator[TensorSink]:
    try:
        yield sink
    except BaseException:
        sink.abort()
        raise


def _write_small_files(plan: ExportPlan, folder: Path) -> list[str]:
    """Configuration, tokenizer and formats of a folder; returns their names."""
    copies = dict(plan.tokenizer.files)
    generation = plan.base.folder / "generation_config.json"
    if plan.request.format == "pth":
        texts = {PARAMS: _json(params_table(plan.base))}
    else:
        texts = {"config.json": _json(merged_config(plan))}
        if generation.is_file():
            copies[generation.name] = generation
    if plan.formats:
        texts[FORMAT_FILE] = plan.formats.to_toml()
        texts[_TEMPLATE_FILE] = plan.formats.prompt.chat_template
        settings = plan.tokenizer.json("tokenizer_config.json")
        if settings.pop("chat_template", None) is not None:  # it would win over chat_template.jinja in some loaders
            texts["tokenizer_config.json"] = _json(settings)
        copies.pop("chat_template.json", None)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    for name, path in copies.items():
        if name not in texts:
            shutil.copyfile(path, folder / name)
    return [*texts, *(name for name in copies if name not in texts)]


def merged_config(plan: ExportPlan) -> dict[str, Any]:
    """The base's configuration with the type and the vocabulary of what was written."""
    config = dict(plan.base.raw_config)
    config["vocab_size"] = plan.base.vocab_rows
    widths = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
    if plan.request.type or not {"dtype", "torch_dtype"} & config.keys():
        dtype = widths[plan.request.type or plan.jobs[0].target.dtype]
        for key in {"dtype", "torch_dtype"} & config.keys() or {"dtype"}:
            config[key] = dtype
    return config


def _json(table: object) -> str:
    return json.dumps(table, ensure_ascii=False, indent=2) + "\n"
