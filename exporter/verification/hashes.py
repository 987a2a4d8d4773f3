"""The manifest: whether the files are still those it was written for, and the sources those it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter import manifest
from exporter.fingerprint import Planned, plan_fingerprint, tool_version
from exporter.sources.weight_files import some
from exporter.verification.check import Check
from exporter.verification.planned_again import origin


def check_hashes(path: Path, table: Mapping[str, Any] | None) -> Check:
    """Read every file again, whole."""
    place = manifest.manifest_path(path, is_folder=path.is_dir())
    if table is None and not place.exists():
        return Check("manifest", "not checked", f"there is no {place.name}")
    wrong = [f"{place.name} is damaged"] if table is None else manifest.changed_files(path, table)
    if wrong:
        return Check("manifest", "differs", some(wrong))
    count = len(table["files"]) if table else 0
    return Check("manifest", "ok", f"{count} files have the SHA-256 they were written with")


def check_sources(table: Mapping[str, Any] | None, plan: Planned) -> Check:
    """The given base and adapters are those of the manifest, to the byte; of a quantized file, those of its source."""
    if table is None:
        return Check("sources", "not checked", "there is no manifest that names them")
    source = table.get("source")
    table = origin(table)
    if "base" not in table:
        name = source.get("name") if isinstance(source, Mapping) else "something else"
        return Check("sources", "not checked", f"the manifest names {name}, which this was made from, and no base")
    wrong = _other_sources(table, plan)
    if wrong:
        return Check("sources", "differs", wrong)
    if table.get("version") != tool_version():  # its fingerprint is another by that alone
        return Check("sources", "ok", "weight files of the recorded sizes and headers")
    recorded = {name: table.get(name) for name in plan.settings}
    if plan_fingerprint(plan, recorded) != table.get("fingerprint"):
        return Check(
            "sources", "differs", "a file of the base or of an adapter is not the one the export was made from"
        )
    return Check("sources", "ok", "base and adapters are those that the manifest was made from")


def _other_sources(table: Mapping[str, Any], plan: Planned) -> str:
    """What is given and not recorded, as a sentence; empty where names, weights and files agree."""
    weights = [adapter.weight for adapter in plan.adapters]
    named = [str(adapter.get("name")) for adapter in table.get("adapters", [])]
    if len(named) != len(weights):
        given = some([adapter.name for adapter in plan.adapters]) or "none"
        return f"the export was made with adapters {some(named) or 'none'}, given were {given}"
    if table.get("weights", weights) != weights:  # an adapter alone has none
        return f"the export was made with adapter weights {table.get('weights')}, given were {weights}"
    described = manifest.make_manifest({}, {}, base=plan.base, adapters=plan.adapters, inputs="")
    pairs = [(described["base"], table.get("base", {})), *zip(described["adapters"], table["adapters"], strict=True)]
    wrong = [
        f"{theirs.get('name')} (given: {ours['name']})"
        for ours, theirs in pairs
        if ours["files"] != theirs.get("files")
    ]
    return f"the export was made from other files than those given: {some(wrong)}" if wrong else ""
