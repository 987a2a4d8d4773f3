"""One record's values -> the conversation to go on with, the replies that are known, the entities that are listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.column_names import SPEAKERS
from configs.prompt import Message, check_roles
from configs.records import cell_text


@dataclass(frozen=True, slots=True)
class Entity:
    """A named entity as a record lists it."""

    text: str
    kind: str


def conversation(values: Mapping[str, Any], instruction: str) -> tuple[list[Message], tuple[str, ...]]:
    """(messages up to the one to answer, known replies) of a record.

    Args:
        values: by role: instruction, input, output, system, messages.
        instruction: where the record has none of its own.

    Raises:
        ValueError: it cannot be read, or there is nothing to ask.
        ConfigError: the roles of its messages are out of order.
    """
    asked, output = values.get("input"), values.get("output")
    if values.get("messages") is not None:
        messages = _turns(values["messages"])
    elif isinstance(asked, list):
        replies = output if isinstance(output, list) else []
        if not len(asked) - 1 <= len(replies) <= len(asked):
            raise ValueError(f"{len(asked)} inputs do not go with {len(replies)} outputs")
        turns = [turn for pair in zip(asked, [*replies, None], strict=False) for turn in pair]
        messages = [
            {"role": ("user", "assistant")[at % 2], "content": _text(turn)}
            for at, turn in enumerate(turns)
            if turn is not None
        ]
        output = None
    else:
        parts = [cell_text(values.get("instruction")).strip() or instruction, _text(asked).strip()]
        messages = [{"role": "user", "content": "\n".join(filter(None, parts))}]
    if values.get("system") and not (messages and messages[0]["role"] == "system"):
        messages.insert(0, {"role": "system", "content": _text(values["system"])})
    references = [_text(reply) for reply in output] if isinstance(output, list) else [_text(output)]
    if messages and messages[-1]["role"] == "assistant":
        references = [messages.pop()["content"]]
    if not messages or messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise ValueError("there is nothing to ask")
    return messages, tuple(reply for reply in references if reply)


def _turns(value: Any) -> list[Message]:
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        raise ValueError("the messages are not a list of objects")
    messages = []
    for turn in value:
        role = str(turn.get("role", turn.get("from"))).lower()
        messages.append({"role": SPEAKERS.get(role, role), "content": turn.get("content", turn.get("value"))})
    check_roles(messages)
    return messages


def read_entities(value: Any) -> tuple[Entity, ...]:
    """The entities that a record lists.

    Raises:
        ValueError: it is no list of them.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("the entities are not a list of objects")
    return tuple(Entity(_text(one.get("entity")), _text(one.get("entity_type"))) for one in value)


def _text(cell: Any) -> str:
    if isinstance(cell, (list, dict)):
        raise ValueError("a list stands where a text should")
    text = cell_text(cell)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair") from None
    return text
