"""Sampling that is changed while one chats."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields, replace

from configs.errors import ConfigError
from runtime.arguments import real, whole
from runtime.engine import Sampling

_READERS: dict[str, Callable[[str], float]] = {
    "temperature": real(0),
    "top_p": real(0, 1),
    "top_k": whole(0),
    "repeat_penalty": real(0.01),
    "max_tokens": whole(1),
    "seed": whole(0),
}
NAMES = tuple(_READERS)
_NO_SEED = ("none", "-", "random")


def changed(sampling: Sampling, name: str, value: str) -> Sampling:
    """The sampling with one setting changed, its name spelled as on the command line or with underscores.

    Raises:
        ConfigError: there is no such setting, or the value is out of its range.
    """
    field = name.strip().lstrip("-").replace("-", "_")
    if field not in _READERS:
        raise ConfigError(f"there is no setting {name}", hint=", ".join(NAMES))
    if field == "seed" and value.lower() in _NO_SEED:
        return replace(sampling, seed=None)
    try:
        return replace(sampling, **{field: _READERS[field](value)})  # type: ignore[arg-type]
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{field}: {error}") from error


def described(sampling: Sampling) -> str:
    """All settings on one line."""
    return "  ".join(f"{name} {getattr(sampling, name)}" for name in NAMES)


def over(stored: Sampling, asked: Sampling) -> Sampling:
    """A chat's own sampling, but for what the command line set to something else than the default."""
    defaults = Sampling()
    set_now = {
        field.name: getattr(asked, field.name)
        for field in fields(Sampling)
        if getattr(asked, field.name) != getattr(defaults, field.name)
    }
    return replace(stored, **set_now)
