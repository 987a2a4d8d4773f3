"""The shape of a line in a list of keys."""

from __future__ import annotations

Row = tuple[str, str]
"""A key, command or title, and what it does."""
