"""What is generated for one record: its place in the journal, and its line in the output."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.atomic import sha256_text
from configs.instructions import Record
from configs.prompt import Message
from runtime.journal import Records
from runtime.rows import fingerprint

_SEEDS = 2**31
"""llama.cpp's seeds have 32 bits, and the largest of them means a random one."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A finished reply."""

    text: str
    finish: str
    """`stop`, or `length` where the tokens or the context ran out first."""
    prompt_tokens: int
    tokens: int


def _written(reply: Generated) -> dict[str, Any]:
    return {"text": reply.text, "finish": reply.finish, "prompt_tokens": reply.prompt_tokens, "tokens": reply.tokens}


def _read(record: dict[str, Any]) -> Generated | None:
    text, finish = record.get("text"), record.get("finish")
    prompt_tokens, tokens = record.get("prompt_tokens"), record.get("tokens")
    whole = isinstance(text, str) and finish in ("stop", "length")
    if whole and isinstance(prompt_tokens, int) and isinstance(tokens, int):
        return Generated(str(text), str(finish), prompt_tokens, tokens)
    return None


REPLIES: Records[Generated] = Records("lora2edge generate", 1, _written, _read)
"""The journal of `generate`."""


class Prompts:
    """The records by content: those with equal messages share a key, and one reply."""

    def __init__(self, records: Sequence[Record], system: str | None, identity: dict[str, Any]) -> None:
        self.records = records
        self.errors: dict[str, str] = {}
        """Key -> why this record cannot be answered."""
        self.failed: dict[str, str] = {}
        """Key -> why it was not answered this time."""
        self.unique: dict[str, list[Message]] = {}
        """Key -> the conversation, in the order of the file."""
        salt = fingerprint(identity)
        self._keys: list[str] = []
        for record in records:
            messages = _with_system(record.messages, system)
            self._keys.append(fingerprint([messages, salt]) if messages else "")
            if messages:
                self.unique.setdefault(self._keys[-1], messages)

    def rows(self) -> Iterator[tuple[Record, str]]:
        """Every record with its key; the key of one that cannot be read is empty."""
        return zip(self.records, self._keys, strict=True)

    def reason(self, record: Record, key: str) -> str:
        """Why a record has no reply."""
        return record.error or self.errors.get(key) or self.failed.get(key, "not computed")


def row_seed(seed: int, messages: Sequence[Message]) -> int:
    """The seed of one record: its own whatever the order of the file and whatever runs beside it."""
    return int(sha256_text(json.dumps([seed, messages], ensure_ascii=False))[:8], 16) % _SEEDS


def output_bytes(prompts: Prompts, replies: Mapping[str, Generated]) -> bytes:
    """The whole output: a JSON object a line, in the order of the input."""
    lines = [_line(record, replies.get(key), prompts.reason(record, key)) for record, key in prompts.rows()]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def _line(record: Record, reply: Generated | None, reason: str) -> dict[str, Any]:
    if reply is None:
        return {"id": record.id, "input": record.asked, "output": None, "status": f"error: {reason}"}
    cut = reply.finish == "length"
    return {
        "id": record.id,
        "input": record.asked,
        "output": reply.text,
        "status": f"warning: cut after {reply.tokens} tokens" if cut else "ok",
        "tokens": reply.tokens,
    }


def _with_system(messages: Sequence[Message], system: str | None) -> list[Message]:
    """The conversation with the system text, where it has none of its own."""
    if not messages or system is None or messages[0]["role"] == "system":
        return list(messages)
    return [{"role": "system", "content": system}, *messages]
