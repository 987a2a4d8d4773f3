"""One statement about an export, and what came of testing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "differs", "measured", "not checked"]
"""`measured` is a figure without a verdict."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its outcome."""

    name: str
    status: Status
    detail: str
    """A sentence: what holds, what differs where, or why it was not checked."""
