"""A path as people and terminals write it: typed, quoted, escaped, or as the URL of a file that was dropped."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

_QUOTED = re.compile(r"""(?P<quote>['"])(?P<path>.*)(?P=quote)""", re.DOTALL)


def path_of(text: str, *, windows: bool = os.name == "nt") -> Path | None:
    """The path that a text names, None if it names none. It need not exist."""
    text = text.strip()
    if not text or "\n" in text or "\0" in text:
        return None
    if text.lower().startswith("file://"):
        text = unquote(urlsplit(text).path)
        text = text.lstrip("/") if windows else text
    elif quoted := _QUOTED.fullmatch(text):
        text = _unquoted(text) if quoted["quote"] == "'" and not windows else quoted["path"]
    elif "\\" in text and not windows and not Path(text).exists():
        text = _unquoted(text)
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~nobody
        return Path(text)


def _unquoted(text: str) -> str:
    """Undo a shell's quoting; several words stay as they are."""
    try:
        parts = shlex.split(text)
    except ValueError:
        return text
    return parts[0] if len(parts) == 1 else text
