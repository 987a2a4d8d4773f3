"""Finds chats: by age, by title, by what was said in them."""

from __future__ import annotations

from dataclasses import dataclass

from tui.chats.store import ChatStore

_TRIGRAM = 3
_AROUND = 24
_LISTED = 200


@dataclass(frozen=True, slots=True)
class Found:
    """One line of the list of chats."""

    chat: int
    title: str
    updated: float
    """Seconds since 1970, UTC."""
    messages: int
    excerpt: str
    """Where the search met, with a little of what stands around it; empty without a search."""


def find_chats(store: ChatStore, text: str = "") -> list[Found]:
    """Chats whose title or messages hold `text`, whatever its case, newest first; all without one.

    The index holds runs of three characters. Chinese words are often two: those are looked for in every message.
    """
    wanted = text.strip()
    if not wanted:
        return _found(store, "SELECT id AS chat, '' AS content FROM chats", (), wanted)
    like = f"%{_escaped(wanted)}%"
    if len(wanted) >= _TRIGRAM:
        quoted = wanted.replace('"', '""')
        matches = "SELECT rowid FROM message_index WHERE message_index MATCH ?"
        query = f"SELECT chat, content FROM messages WHERE id IN ({matches})"  # noqa: S608  no words of anybody's
        said = f'"{quoted}"'
    else:
        query, said = r"SELECT chat, content FROM messages WHERE content LIKE ? ESCAPE '\'", like
    titles = r"SELECT id AS chat, '' AS content FROM chats WHERE title LIKE ? ESCAPE '\'"
    return _found(store, f"{query} UNION ALL {titles}", (said, like), wanted)


def _found(store: ChatStore, hits: str, values: tuple[str, ...], wanted: str) -> list[Found]:
    rows = store.connection.execute(
        f"""
        SELECT chats.id, chats.title, chats.updated, MAX(hits.content) AS content,
            (SELECT COUNT(*) FROM messages WHERE messages.chat = chats.id) AS messages
        FROM ({hits}) AS hits JOIN chats ON chats.id = hits.chat
        GROUP BY chats.id ORDER BY chats.updated DESC, chats.id DESC LIMIT {_LISTED}
        """,  # noqa: S608  the queries above
        values,
    )
    return [
        Found(row["id"], row["title"], row["updated"], row["messages"], excerpt(row["content"], wanted)) for row in rows
    ]


def excerpt(content: str, wanted: str) -> str:
    """The first place where `wanted` stands, on one line."""
    at = content.casefold().find(wanted.casefold()) if wanted else -1
    if at < 0:
        return ""
    begin, end = max(at - _AROUND, 0), at + len(wanted) + _AROUND
    middle = " ".join(content[begin:end].split())
    return f"{'…' if begin else ''}{middle}{'…' if end < len(content) else ''}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
