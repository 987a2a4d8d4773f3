"""The manifest of an export: what was written and from what; written, read again, held against the files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.atomic import sha256_file
from exporter.fingerprint import TOOL, tool_version
from exporter.sources.huggingface import BaseModel
from exporter.sources.peft_adapter import Adapter
from exporter.sources.weight_files import Weights
from exporter.tensor import FileRecord

FOLDER_MANIFEST = "manifest.json"


def manifest_path(output: Path, *, is_folder: bool) -> Path:
    """`FOLDER/manifest.json`, or `FILE.gguf.manifest.json`."""
    return output / FOLDER_MANIFEST if is_folder else output.with_name(f"{output.name}.manifest.json")


def make_manifest(
    settings: Mapping[str, object],
    records: Mapping[str, FileRecord],
    *,
    base: BaseModel,
    adapters: Sequence[Adapter],
    inputs: str,
) -> dict[str, Any]:
    """The manifest's table; no times and no paths in it, so that equal exports have equal manifests."""
    return {
        "tool": TOOL,
        "version": tool_version(),
        **settings,
        "fingerprint": inputs,
        "files": {name: {"size": record.size, "sha256": record.sha256} for name, record in sorted(records.items())},
        "base": {"name": base.name, "files": _describe(base.weights)},
        "adapters": [
            {
                "name": adapter.name,
                "weight": adapter.weight,
                "scales": sorted({pair.scale for pair in adapter.pairs.values()}),
                "files": _describe(adapter.weights),
            }
            for adapter in adapters
        ],
    }


def _describe(weights: Weights) -> list[dict[str, object]]:
    return [{"name": file.path.name, "size": file.size, "header_sha256": file.header_sha256} for file in weights.files]


def read_manifest(path: Path) -> dict[str, Any] | None:
    """A manifest's table, or None where there is none that can be read, or one that is damaged."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return table if isinstance(table, dict) and _is_sound(table) else None


def _is_sound(table: Mapping[str, Any]) -> bool:
    """Whether everything that is read of a manifest is of its type."""
    kinds = {
        "files": dict, "base": dict, "adapters": list, "weights": list, "tensor_types": list, "shards": int,
        "source": dict, "type": str, "name": str,
    }  # fmt: skip
    if not all(isinstance(table[name], kind) for name, kind in kinds.items() if name in table):
        return False
    entries = [*table.get("files", {}).values(), *table.get("adapters", [])]
    rules, inner = table.get("tensor_types", []), table.get("source", {}).get("manifest", {})
    return (
        all(isinstance(entry, dict) for entry in entries)
        and all(isinstance(rule, str) for rule in rules)
        and isinstance(inner, dict)
        and (not inner or _is_sound(inner))
    )


def changed_files(path: Path, table: Mapping[str, Any]) -> list[str]:
    """What is not as the manifest of `path` says, a sentence for each; every file is read whole."""
    records: Mapping[str, Mapping[str, Any]] = table.get("files", {})
    if not records:
        return ["the manifest names no files"]
    if not path.is_dir() and path.name not in records:
        return [f"the manifest is of {', '.join(sorted(records))}, not of {path.name}"]
    folder = path if path.is_dir() else path.parent
    wrong = []
    for name, record in records.items():
        if not (folder / name).is_file():
            wrong.append(f"{name} is missing")
        elif sha256_file(folder / name) != record.get("sha256"):
            wrong.append(f"{name} is not the file that was written")
    return wrong


def manifest_of(path: Path) -> dict[str, Any] | None:
    """The manifest beside a file, if it is of a file of that name and size. (A hash would cost another read.)"""
    table = read_manifest(manifest_path(path, is_folder=False))
    records = table.get("files") if table else None
    record = records.get(path.name) if isinstance(records, dict) else None
    return table if isinstance(record, dict) and record.get("size") == path.stat().st_size else None


def recorded_fingerprint(output: Path, *, is_folder: bool) -> str | None:
    """The fingerprint of the inputs that a standing output was made from; None if it tells nothing or lost a file."""
    table = read_manifest(manifest_path(output, is_folder=is_folder))
    if not table or not isinstance(table.get("files"), dict):
        return None
    folder = output if is_folder else output.parent
    for name, record in table["files"].items():
        try:
            if (folder / name).stat().st_size != record["size"]:
                return None
        except (OSError, KeyError, TypeError):
            return None
    recorded = table.get("fingerprint")
    return recorded if isinstance(recorded, str) else None


def file_record(path: Path) -> FileRecord:
    """Size and hash of a file that is there already."""
    return FileRecord(path.stat().st_size, sha256_file(path))
