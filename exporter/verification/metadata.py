"""Everything in an export besides tensors and vocabulary files: a GGUF's keys, a folder's config.json."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.adapter_plan import AdapterPlan
from exporter.merge import merged_config
from exporter.meta_output import params_table
from exporter.plan import ExportPlan
from exporter.sources.weight_files import some
from exporter.verification.check import Check
from exporter.verification.written import Written, WrittenFolder, read_gguf


def check_metadata(written: Written, plan: ExportPlan | AdapterPlan) -> Check:
    """Compare what the export says of the model with what it would say if it were made now."""
    if isinstance(written, WrittenFolder):
        assert isinstance(plan, ExportPlan)  # an adapter alone is a file
        if written.format == "pth":
            return _compare("params.json", written.keys, params_table(plan.base))
        return _compare("config.json", written.keys, merged_config(plan))
    with written.path.open("rb") as file:
        same = file.read(len(plan.header)) == plan.header
    if same:
        return Check("metadata", "ok", f"the header is that of the sources, {len(plan.header):,} bytes")
    return _compare("the header", written.keys, _planned_keys(plan))


def _planned_keys(plan: ExportPlan | AdapterPlan) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "planned.gguf")
        path.write_bytes(plan.header)
        with path.open("r+b") as file:
            file.truncate(plan.weight_bytes)  # a hole where the weights would be: gguf's reader maps them
        return read_gguf(path).keys


def _compare(what: str, there: Mapping[str, Any], planned: Mapping[str, Any]) -> Check:
    wrong = [name for name in planned if name not in there or there[name] != planned[name]]
    added = [name for name in there if name not in planned]
    if wrong or added:
        sentences = [f"{what}: {some(wrong)} not as the sources have it"] if wrong else []
        sentences += [f"{some(added)} in no source"] if added else []
        return Check("metadata", "differs", "; ".join(sentences))
    return Check("metadata", "ok", f"{what} says what the sources say")
