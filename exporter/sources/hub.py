"""A folder argument: a path, or the id of a model on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from configs.errors import ConfigError, ToolError, require

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SMALL_FILES = ["*.json", "*.model", "*.jinja", "*.toml", "*.txt"]


def find_folder(text: str, what: str) -> Path:
    """The folder that `text` names, fetched from the hub where it is an id and no path.

    Args:
        what: for messages: "base model" or "adapter".

    Raises:
        ConfigError: it looks like a path and is not there, or is a file.
        ToolError: the hub has no such model, or cannot be reached.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ConfigError(f"{what} {text} is a file, not a folder")
    if not _HUB_ID.fullmatch(text) or Path(text).parent.exists():
        raise ConfigError(f"{what} {text} does not exist", hint="a folder, or a hub id such as owner/name")
    return _download(text, what)


def _download(hub_id: str, what: str) -> Path:
    hub = require("huggingface_hub", "convert")
    errors = require("huggingface_hub.errors", "convert")
    try:
        folder = Path(hub.snapshot_download(hub_id, allow_patterns=[*_SMALL_FILES, "*.safetensors"]))
        if not any(folder.glob("*.safetensors")):
            folder = Path(hub.snapshot_download(hub_id, allow_patterns=[*_SMALL_FILES, "*.bin", "consolidated.*.pth"]))
    except errors.LocalEntryNotFoundError as error:
        raise ToolError(f"{what} {hub_id} is no folder here, and the hub cannot be reached") from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise ToolError(
            f"{what} {hub_id} is no folder here, and the hub does not give it: {_first_line(error)}"
        ) from error
    return folder


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
