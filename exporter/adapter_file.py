"""A LoRA adapter alone, as the GGUF that llama.cpp plugs into a GGUF of its base."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path

from configs.atomic import output_is_done
from configs.errors import require
from exporter import manifest
from exporter.adapter_plan import plan_adapter
from exporter.fingerprint import plan_fingerprint
from exporter.machine import check_disk, check_place
from exporter.merge import MergeResult, check_replaceable, write_gguf

_log = logging.getLogger(__name__)


def export_adapter(adapter: str, base: str, output: Path, *, name: str = "", overwrite: bool = False) -> MergeResult:
    """Write an adapter as a llama.cpp LoRA file.

    Args:
        adapter: folder or hub id; plain LoRA or rsLoRA.
        base: the base model it was trained on, which it is checked against.

    Raises:
        ConfigError: an argument is wrong, or another output stands there.
        ToolError: the adapter is damaged, of another kind or another model's.
    """
    start = time.monotonic()
    require("torch", "convert")
    require("gguf", "convert")
    plan = plan_adapter(adapter, base, name=name or output.stem)
    for note in plan.notes:
        _log.warning("exporter: %s", note)
    check_place(output, [plan.adapter.folder, plan.base.folder])
    check_replaceable(output, is_folder=False)
    inputs = plan_fingerprint(plan)
    recorded = manifest.recorded_fingerprint(output, is_folder=False)
    if output_is_done(output, recorded=recorded, wanted=inputs, overwrite=overwrite):
        table = manifest.read_manifest(manifest.manifest_path(output, is_folder=False)) or {}
        return MergeResult(output, table["files"], True, time.monotonic() - start)
    check_disk(output, plan.weight_bytes)
    describe = functools.partial(
        manifest.make_manifest, plan.settings, base=plan.base, adapters=plan.adapters, inputs=inputs
    )
    records = write_gguf(output, plan.header, plan.jobs, describe, threads=1, title="adapter")
    files = {key: {"size": record.size, "sha256": record.sha256} for key, record in records.items()}
    return MergeResult(output, files, False, time.monotonic() - start)
