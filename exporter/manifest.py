"""The manifest of an export: what was written, from what, and a fingerprint of the inputs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from configs.atomic import sha256_file, sha256_text
from exporter.sources.huggingface import BaseModel
from exporter.sources.peft_adapter import Adapter
from exporter.sources.weight_files import Weights
from exporter.tensor import FileRecord

FOLDER_MANIFEST = "manifest.json"
TOOL = "lora2edge"

_SMALL = {".json", ".model", ".jinja", ".toml", ".txt"}
_REPORTS = {FOLDER_MANIFEST, "training.json"}
"""Files that lie beside a model and change nothing in an export."""

_WHOLE_BYTES = 64 << 20
_SAMPLES = 256
_SAMPLE_BYTES = 64 << 10


class Planned(Protocol):
    """An export of base and adapters: a merge, or an adapter alone."""

    @property
    def base(self) -> BaseModel:
        """The base model."""
        ...

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The adapters, in order."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """What decides the bytes besides the inputs."""
        ...


def manifest_path(output: Path, *, is_folder: bool) -> Path:
    """`FOLDER/manifest.json`, or `FILE.gguf.manifest.json`."""
    return output / FOLDER_MANIFEST if is_folder else output.with_name(f"{output.name}.manifest.json")


def tool_version() -> str:
    """This package's version."""
    try:
        return importlib.metadata.version(TOOL)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def fingerprint(settings: Mapping[str, object], inputs: Sequence[tuple[Path, Weights]]) -> str:
    """One hash over everything that decides an export's bytes: settings, tool, and every input folder in order.

    Small files and weights up to 64 MiB count whole. Of larger weight files 256 blocks of 64 KiB count, and the time
    of the last change: reading 14 GB twice to learn that nothing is to be done would cost as much as doing it.
    """
    files = [
        [number, path.name, _content_hash(path)]
        for number, (folder, weights) in enumerate(inputs)
        for path in sorted({file.path for file in weights.files} | {path for path in folder.iterdir() if _counts(path)})
    ]
    parts = {"settings": dict(settings), "version": tool_version(), "files": files}
    return sha256_text(json.dumps(parts, sort_keys=True, ensure_ascii=False))


def plan_fingerprint(plan: Planned, settings: Mapping[str, object] | None = None) -> str:
    """The same for a planned export, or for one with the given settings."""
    parts = [(adapter.folder, adapter.weights) for adapter in plan.adapters]
    return fingerprint(settings or plan.settings, [*parts, (plan.base.folder, plan.base.weights)])


def file_fingerprint(settings: Mapping[str, object], path: Path) -> str:
    """The same for an export that is made from one file."""
    parts = {"settings": dict(settings), "version": tool_version(), "files": [path.name, _content_hash(path)]}
    return sha256_text(json.dumps(parts, sort_keys=True, ensure_ascii=False))


def _counts(path: Path) -> bool:
    return path.is_file() and path.suffix in _SMALL and path.name not in _REPORTS


def _content_hash(path: Path) -> str:
    status = path.stat()
    if status.st_size <= _WHOLE_BYTES:
        return sha256_file(path)
    digest = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek((status.st_size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


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
    """A manifest's table, or None where there is none that can be read."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return table if isinstance(table, dict) else None


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
