"""One hash over everything that decides an export's bytes, by which an export that stands already is known again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from configs.atomic import sha256_file, sha256_text
from exporter.sources.huggingface import BaseModel
from exporter.sources.peft_adapter import Adapter
from exporter.sources.weight_files import Weights

TOOL = "lora2edge"

_SMALL = {".json", ".model", ".jinja", ".toml", ".txt"}
_REPORTS = {"manifest.json", "training.json"}
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
