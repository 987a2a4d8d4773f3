"""What the person chose for every screen, for programs that hold no chat."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from configs.errors import ToolError
from tui.chats.store import ChatStore


class StoredPreferences:
    """Preferences in the folder of chats. Where none can be kept, there are none."""

    def __init__(self, folder: Path) -> None:
        self._store: ChatStore | None = None
        try:
            self._store = ChatStore(folder)
        except ToolError:
            return

    def preference(self, name: str) -> str | None:
        """The choice; None if there is none."""
        try:
            return self._store.preference(name) if self._store else None
        except sqlite3.Error:
            return None

    def prefer(self, name: str, value: str) -> None:
        """Remember a choice."""
        if self._store:
            try:
                self._store.set_preference(name, value)
            except sqlite3.Error:
                return

    def close(self) -> None:
        """Let the folder go."""
        if self._store:
            self._store.close()
