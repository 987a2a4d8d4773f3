"""Where chats live: the platform's folder for the data of programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT_NAME = "TUI_DATA_DIR"
_NAME = "lora2edge"


def data_folder(
    chosen: Path | None = None, environment: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Path:
    """The folder that was asked for, on the command line or in the environment, else the platform's."""
    if chosen is not None:
        return chosen
    if folder := environment.get(ENVIRONMENT_NAME):
        return Path(folder)
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / _NAME
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / _NAME
    base = environment.get("XDG_DATA_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share") / _NAME
