"""The shipped data files, and a user's own in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from configs.errors import ConfigError

Kind = Literal["prompts", "questions", "entities", "presets", "deepspeed"]

_ROOT = Path(__file__).parent
_SUFFIX = {"prompts": ".toml", "questions": ".toml", "entities": ".toml", "presets": ".toml", "deepspeed": ".json"}
_NOUN = {
    "prompts": "prompt format",
    "questions": "question format",
    "entities": "question format for entities",
    "presets": "training preset",
    "deepspeed": "DeepSpeed configuration",
}


def names(kind: Kind) -> list[str]:
    """Names of the shipped files of one kind, sorted."""
    return sorted(path.stem for path in (_ROOT / kind).glob(f"*{_SUFFIX[kind]}"))


def find(kind: Kind, name_or_path: str) -> Path:
    """The user's file at that path if there is one, else the shipped file of that name.

    Raises:
        ConfigError: neither exists; the sentence lists the shipped names.
    """
    given = Path(name_or_path)
    if given.is_file():
        return given
    if name_or_path in names(kind):
        return _ROOT / kind / f"{name_or_path}{_SUFFIX[kind]}"
    raise ConfigError(
        f"no {_NOUN[kind]} '{name_or_path}'",
        hint=f"use a file of your own or one of: {', '.join(names(kind))}",
    )


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a UTF-8 text file") from error
