"""Instruction records and dialogues -> messages that end with a reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.column_names import SPEAKERS
from configs.prompt import Message
from configs.records import cell_text

_FIELDS = ({"role", "content"}, {"from", "value"})
_NAMES = set().union(*_FIELDS)


def plain_text(cell: Any, what: str) -> str:
    """The text of a cell.

    Raises:
        ValueError: it is a list or an object, or holds half of a surrogate pair.
    """
    if isinstance(cell, (list, dict)):
        raise ValueError(f"{what} is no text")
    text = cell_text(cell)
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"{what} holds half of a surrogate pair") from None
    return text


def instruction_messages(cells: Mapping[str, Any]) -> list[Message]:
    """Messages of `instruction`, `input` (joined by a line break), `output` and `system`.

    Raises:
        ValueError: nothing is asked, or there is no reply.
    """
    parts = [plain_text(cells.get(role), f"the {role}").strip() for role in ("instruction", "input")]
    asked = "\n".join(filter(None, parts))
    reply = plain_text(cells.get("output"), "the output").strip()
    if not asked:
        raise ValueError("no instruction")
    if not reply:
        raise ValueError("no output")
    return [*_system(cells), {"role": "user", "content": asked}, {"role": "assistant", "content": reply}]


def chat_messages(cells: Mapping[str, Any]) -> tuple[list[Message], int]:
    """(messages of a dialogue, turns cut off): what stands before the first question, and what has no reply, is cut.

    Raises:
        ValueError: it is no dialogue, its turns do not alternate, or a turn is empty.
    """
    is_paired = "messages" not in cells or (cells["messages"] is None and cells.get("input") is not None)
    turns = _paired(cells) if is_paired else _turns(cells["messages"])
    system = turns[:1] if turns and turns[0]["role"] == "system" else _system(cells)
    spoken = turns[1:] if turns and turns[0]["role"] == "system" else turns
    roles = [turn["role"] for turn in spoken]
    if "user" not in roles or "assistant" not in roles[roles.index("user") :]:
        raise ValueError("no question with a reply")
    start, end = roles.index("user"), len(roles) - roles[::-1].index("assistant")
    kept = spoken[start:end]
    for place, turn in enumerate(kept):
        if turn["role"] != ("user", "assistant")[place % 2]:
            raise ValueError(f"turn {start + place + 1} is the {turn['role']}'s, as is the one before it")
        if not turn["content"].strip():
            raise ValueError(f"turn {start + place + 1} is empty")
    return [*system, *kept], len(spoken) - len(kept)


def _without_empty(turn: Mapping[str, Any]) -> dict[str, Any]:
    """The turn without fields that are none of ours and hold nothing."""
    return {name: cell for name, cell in turn.items() if cell is not None or name in _NAMES}


def _system(cells: Mapping[str, Any]) -> list[Message]:
    text = plain_text(cells.get("system"), "the system text").strip()
    return [{"role": "system", "content": text}] if text else []


def _paired(cells: Mapping[str, Any]) -> list[Message]:
    """Turns of `input` and `output`, two lists of texts."""
    asked, replies = cells.get("input"), cells.get("output")
    if not isinstance(asked, list) or not isinstance(replies, list) or len(asked) != len(replies):
        raise ValueError("input and output are not lists of the same length")
    return [
        {"role": role, "content": plain_text(text, f"turn {2 * place + turn}")}
        for place, pair in enumerate(zip(asked, replies, strict=True))
        for turn, (role, text) in enumerate(zip(("user", "assistant"), pair, strict=True), 1)
    ]


def _turns(value: Any) -> list[Message]:
    """Turns of `messages` (role, content) or ShareGPT's `conversations` (from, value)."""
    if not isinstance(value, list) or not value:
        raise ValueError("the messages are no list")
    turns = []
    for place, given in enumerate(value, 1):
        # Tables in which every turn has the same fields (Parquet) leave those empty that a turn has not.
        turn = _without_empty(given) if isinstance(given, dict) else given
        if not isinstance(turn, dict) or set(turn) not in _FIELDS:
            fields = ", ".join(turn) if isinstance(turn, dict) else "no fields"
            raise ValueError(f"turn {place} has {fields} instead of role and content, or from and value")
        who, said = turn.values() if next(iter(turn)) in ("role", "from") else reversed(turn.values())
        role = SPEAKERS.get(str(who).lower())
        if role is None or (role == "system" and place > 1):
            raise ValueError(f"turn {place} is of '{who}', who is not user or assistant")
        turns.append({"role": role, "content": plain_text(said, f"turn {place}")})
    return turns
