"""Writes a chat as a file that other people and programs can read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from configs.atomic import write_text
from tui.chats.store import Chat
from tui.chats.tree import ChatTree

# What some file system forbids, control characters, and what a shell would trip over at the beginning.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')
_LONGEST_BYTES = 120


def export(chat: Chat, tree: ChatTree, path: Path) -> Path:
    """Write the chat to `path`, or under a name of its own where `path` is a folder; returns where.

    `.json` holds every version of every message, anything else the branch that is shown, in Markdown.
    """
    if path.is_dir():
        path = unused(path / f"{file_name(chat.title, chat.id)}.md")
    write_text(path, as_json(chat, tree) if path.suffix == ".json" else as_markdown(chat, tree))
    return path


def as_markdown(chat: Chat, tree: ChatTree) -> str:
    """The branch that is shown."""
    parts = [f"# {chat.title}", f"*{chat.model}, {_when(chat.updated)}*"]
    if chat.system:
        parts.append(f"## system\n\n{chat.system}")
    parts += [f"## {message.role}\n\n{message.content}" for message in tree.path()]
    return "\n\n".join(parts) + "\n"


def as_json(chat: Chat, tree: ChatTree) -> str:
    """Everything, with `messages` in the form that trainers read and `versions` as the tree it is."""
    system = [] if chat.system is None else [{"role": "system", "content": chat.system}]
    table = {
        "title": chat.title,
        "model": chat.model,
        "updated": _when(chat.updated),
        "sampling": asdict(chat.sampling),
        "messages": system + [{"role": message.role, "content": message.content} for message in tree.path()],
        "versions": [asdict(message) for message in tree.messages.values()],
        "leaf": tree.leaf,
    }
    return json.dumps(table, ensure_ascii=False, indent=2) + "\n"


def file_name(title: str, chat: int) -> str:
    """A file's name from a title: Chinese stays, what file systems refuse goes."""
    name = " ".join(_FORBIDDEN.sub(" ", title).split()).strip(". -")
    while len(name.encode()) > _LONGEST_BYTES:
        name = name[:-1]
    return name or f"chat-{chat}"


def unused(path: Path) -> Path:
    """The path, or the next one with a number that nothing has."""
    number = 2
    found = path
    while found.exists():
        found = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return found


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).astimezone().isoformat(timespec="seconds")
