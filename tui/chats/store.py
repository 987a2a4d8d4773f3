"""Reads and writes chats. Every method is one transaction, over when it returns."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from configs.errors import ConfigError
from runtime.engine import Sampling
from tui.chats.database import connect
from tui.chats.tree import ChatTree, State, StoredMessage


@dataclass(frozen=True, slots=True)
class Chat:
    """What is known of a chat beside its messages."""

    id: int
    title: str
    model: str
    system: str | None
    sampling: Sampling
    updated: float
    """Seconds since 1970, UTC."""


class ChatStore:
    """The chats of one folder. For one thread.

    Raises:
        ConfigError, MachineError: as `connect`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._connection = connect(folder)

    def close(self) -> None:
        self._connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """For the other readers of this package."""
        return self._connection

    def add_chat(self, title: str, model: str, system: str | None, sampling: Sampling) -> int:
        now = time.time()
        row = self._connection.execute(
            "INSERT INTO chats(title, model, system, sampling, created, updated) VALUES (?, ?, ?, ?, ?, ?)",
            (title, model, system, _to_json(sampling), now, now),
        )
        return int(row.lastrowid or 0)

    def add_message(
        self,
        chat: int,
        parent: int | None,
        role: Literal["user", "assistant"],
        content: str,
        state: State = "done",
        model: str = "",
    ) -> StoredMessage:
        """Add a message and make it the newest of the branch that is shown."""
        now = time.time()
        with self._transaction():
            row = self._connection.execute(
                "INSERT INTO messages(chat, parent, role, content, state, created, model) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (chat, parent, role, content, state, now, model),
            )
            message = StoredMessage(int(row.lastrowid or 0), parent, role, content, state, created=now, model=model)
            self._connection.execute("UPDATE chats SET leaf = ?, updated = ? WHERE id = ?", (message.id, now, chat))
        return message

    def save_message(self, message: StoredMessage) -> None:
        """Write what a message has become."""
        self._connection.execute(
            "UPDATE messages SET content = ?, state = ?, foot = ? WHERE id = ?",
            (message.content, message.state, message.foot, message.id),
        )

    def delete_message(self, message: int) -> None:
        """Remove a message with all that is below it."""
        with self._transaction():
            self._connection.execute(
                "UPDATE chats SET leaf = (SELECT parent FROM messages WHERE id = ?) "
                "WHERE id = (SELECT chat FROM messages WHERE id = ?)",
                (message, message),
            )
            self._connection.execute("DELETE FROM messages WHERE id = ?", (message,))

    def show(self, chat: int, leaf: int) -> None:
        """Remember the branch that is shown."""
        self._connection.execute("UPDATE chats SET leaf = ? WHERE id = ?", (leaf, chat))

    def save_settings(self, chat: int, system: str | None, sampling: Sampling) -> None:
        self._connection.execute(
            "UPDATE chats SET system = ?, sampling = ? WHERE id = ?", (system, _to_json(sampling), chat)
        )

    def rename(self, chat: int, title: str) -> None:
        self._connection.execute("UPDATE chats SET title = ? WHERE id = ?", (title, chat))

    def delete(self, chat: int) -> None:
        """Remove a chat with all its messages."""
        self._connection.execute("DELETE FROM chats WHERE id = ?", (chat,))

    def newest(self) -> int | None:
        """The chat that was spoken in last."""
        row = self._connection.execute("SELECT id FROM chats ORDER BY updated DESC, id DESC LIMIT 1").fetchone()
        return None if row is None else int(row["id"])

    def chat(self, number: int) -> Chat:
        """Raises ConfigError where there is no such chat."""
        row = self._connection.execute("SELECT * FROM chats WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise ConfigError(f"there is no chat {number} in {self.folder}", hint="/chats lists them")
        return Chat(row["id"], row["title"], row["model"], row["system"], _from_json(row["sampling"]), row["updated"])

    def tree(self, chat: int) -> ChatTree:
        """All messages of a chat."""
        tree = ChatTree()
        rows = self._connection.execute(
            "SELECT id, parent, role, content, state, foot, created, model FROM messages WHERE chat = ? ORDER BY id",
            (chat,),
        )
        for row in rows:
            message = StoredMessage(*row)
            if message.state == "writing":  # who wrote it was killed
                message.state = "stopped"
            tree.add(message)
        row = self._connection.execute("SELECT leaf FROM chats WHERE id = ?", (chat,)).fetchone()
        tree.leaf = row["leaf"] if row is not None and row["leaf"] in tree.messages else None
        return tree

    def prompts(self, limit: int = 200) -> list[str]:
        """What people have asked here, in any chat, each once, oldest first."""
        rows = self._connection.execute(
            "SELECT content FROM messages WHERE role = 'user' GROUP BY content ORDER BY MAX(id) DESC LIMIT ?", (limit,)
        )
        return [row["content"] for row in rows][::-1]

    def preference(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM preferences WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["value"])

    def set_preference(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO preferences(name, value) VALUES (?, ?)", (name, value))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")  # a lock that is upgraded later cannot wait for its turn
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _to_json(sampling: Sampling) -> str:
    return json.dumps(asdict(sampling), ensure_ascii=False)


def _from_json(text: str) -> Sampling:
    """The settings of a chat; names of another version are passed over."""
    known = {field.name for field in fields(Sampling)}
    values = {name: value for name, value in json.loads(text).items() if name in known}
    return Sampling(**{**values, "stop": tuple(values.get("stop", ()))})
