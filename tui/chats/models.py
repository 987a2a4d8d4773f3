"""Which models a person may want to talk to: those beside the one that is open, and those used before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ToolError
from runtime.gguf_header import read_header

PREFERENCE = "models"
_REMEMBERED = 12


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF that can be talked to."""

    path: Path
    size_bytes: int


def remembered(value: str | None) -> list[Path]:
    """The models of a stored preference, newest first; what cannot be read is nothing."""
    try:
        found = json.loads(value or "[]")
    except ValueError:
        return []
    return [Path(path) for path in found if isinstance(path, str)] if isinstance(found, list) else []


def with_newest(value: str | None, path: Path) -> str:
    """The preference with one more model, or with one moved to the top."""
    newest = path.absolute()
    others = [other for other in remembered(value) if other != newest]
    return json.dumps([str(one) for one in (newest, *others)][:_REMEMBERED], ensure_ascii=False)


def choices(current: Path, recent: Sequence[Path]) -> list[ModelFile]:
    """The models beside `current`, by name, then the recent ones from elsewhere; adapters are none of them."""
    beside = sorted(current.absolute().parent.glob("*.gguf"), key=lambda path: path.name.casefold())
    found = []
    for path in dict.fromkeys([*beside, *(path.absolute() for path in recent)]):
        try:
            if not read_header(path).is_adapter:
                found.append(ModelFile(path, path.stat().st_size))
        except (ToolError, OSError):  # broken, or gone: nothing to talk to
            continue
    return found
