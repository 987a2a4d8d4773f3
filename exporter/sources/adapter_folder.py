"""Where in a folder the adapter is: trainers leave it at the top, in `checkpoint-N`, or in a subfolder."""

from __future__ import annotations

from pathlib import Path

from configs.errors import ConfigError

_CONFIG = "adapter_config.json"


def adapter_folder(folder: Path) -> Path:
    """The folder itself, or the only adapter right below it.

    Raises:
        ConfigError: there are several below it, and none at the top.
    """
    if (folder / _CONFIG).is_file():
        return folder
    found = sorted(path.parent for path in folder.glob(f"*/{_CONFIG}"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ConfigError(f"{folder} holds several adapters: {names}", hint=f"name one, as {found[-1]}")
    return found[0] if found else folder
