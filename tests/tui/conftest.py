"""Tests keep their chats, and the language they chose, to themselves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

from tui.keys import use_keys
from tui.words import choose

_FOLDER = tempfile.TemporaryDirectory(prefix="tui-chats-")
os.environ["TUI_DATA_DIR"] = _FOLDER.name  # before any test module reads the default


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """What one test chose to speak is nothing to the next."""
    yield
    choose("en")
    use_keys({})
