"""The file the chats are in: its tables, its version, and how it is opened."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from configs.errors import ConfigError, MachineError

FILE_NAME = "chats.sqlite3"
_BUSY_S = 5.0
_RETRY_S = 0.01
_IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)  # the low byte of an error's code

# One script a version, run once each. Never change a script that has been released: add one.
_VERSIONS = (
    """
    CREATE TABLE chats (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        model TEXT NOT NULL,
        system TEXT,
        sampling TEXT NOT NULL,
        leaf INTEGER,
        created REAL NOT NULL,
        updated REAL NOT NULL
    );
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        chat INTEGER NOT NULL REFERENCES chats(id) ON DELETE CASCADE,
        parent INTEGER REFERENCES messages(id) ON DELETE CASCADE,
        role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
        content TEXT NOT NULL,
        state TEXT NOT NULL,
        foot TEXT NOT NULL DEFAULT '',
        created REAL NOT NULL
    );
    CREATE INDEX messages_of_chat ON messages(chat);
    CREATE INDEX messages_below ON messages(parent);
    CREATE INDEX chats_by_age ON chats(updated);
    CREATE TABLE preferences (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE VIRTUAL TABLE message_index USING fts5(content, content='messages', content_rowid='id', tokenize='trigram');
    CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
        INSERT INTO message_index(rowid, content) VALUES (new.id, new.content);
    END;
    CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN
        INSERT INTO message_index(message_index, rowid, content) VALUES ('delete', old.id, old.content);
    END;
    CREATE TRIGGER message_changed AFTER UPDATE OF content ON messages BEGIN
        INSERT INTO message_index(message_index, rowid, content) VALUES ('delete', old.id, old.content);
        INSERT INTO message_index(rowid, content) VALUES (new.id, new.content);
    END;
    """,
    # Which model a reply is by; empty where an earlier version wrote it.
    "ALTER TABLE messages ADD COLUMN model TEXT NOT NULL DEFAULT '';",
)


def connect(folder: Path) -> sqlite3.Connection:
    """Open the chats of a folder, and make both where they are missing.

    Write-ahead logging lets several programs read and write at once, and a killed one lose nothing it had committed.

    Raises:
        ConfigError: the file is no database, or a newer version of this program made it.
        MachineError: the folder cannot be made or written, or this SQLite lacks full-text search.
    """
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _open_in_turn(path)
    except OSError as error:
        raise MachineError(
            f"{folder} cannot hold the chats: {error.strerror}", hint="--data-dir names another"
        ) from error
    except sqlite3.OperationalError as error:
        raise MachineError(f"{path} cannot be used: {error}", hint="--data-dir names another folder") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path} holds no chats: {error}", hint="move it away, or name another --data-dir") from error


def _open_in_turn(path: Path) -> sqlite3.Connection:
    """SQLite's own patience (`timeout`) does not cover a change of the journal mode, which two programs that start on a
    new folder both make: there it says at once that the file is locked. So the whole opening is tried again."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            return _open(path)
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode & 0xFF) not in _IN_USE or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_S)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        _for_the_owner_alone(path)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        _upgrade(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Run the scripts that this file has not seen, all or none of each, one program at a time."""
    if _version(connection) == len(_VERSIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another program may have been quicker
        if version > len(_VERSIONS):
            raise ConfigError(
                f"{path} was made by a newer version", hint="update lora2edge, or name another --data-dir"
            )
        for script in _VERSIONS[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_VERSIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """`executescript` would commit before it begins: cut the script into its statements instead."""
    statements, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return statements


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _for_the_owner_alone(path: Path) -> None:
    if os.name == "posix":
        path.chmod(0o600)
