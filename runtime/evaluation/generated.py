"""Grading what `generate` wrote against the records that hold the right replies."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ConfigError
from configs.instructions import Record, read_records
from configs.records import cell_text, read_table
from runtime.arguments import COLUMNS_FLAG


@dataclass(frozen=True, slots=True)
class Pairing:
    """Gold records and the replies to them."""

    rows: tuple[tuple[Record, str], ...]
    """Every record with its reply; an empty one where there is none, which counts as wrong."""
    replies: int
    missing: tuple[str, ...]
    """IDs without a reply."""
    extra: tuple[str, ...]
    """IDs of replies that no record asked for."""
    unreadable: tuple[str, ...]
    """IDs of records that cannot be read; left out."""
    notes: tuple[str, ...]
    """How the gold file was read."""

    def table(self) -> dict[str, object]:
        """As JSON would have it."""
        return {
            "records": len(self.rows),
            "replies": self.replies,
            "missing": list(self.missing),
            "extra": list(self.extra),
            "unreadable": list(self.unreadable),
        }

    def complaints(self) -> tuple[str, ...]:
        """A sentence for every kind of row that has no partner."""
        kinds = (
            (self.missing, "records have no reply, which counts as wrong"),
            (self.extra, "replies belong to no record"),
            (self.unreadable, "records cannot be read and are left out"),
        )
        return tuple(
            f"{len(ids)} {what}: {', '.join(ids[:10])}{', …' if len(ids) > 10 else ''}" for ids, what in kinds if ids
        )


def pair(answers: Path, gold: Path, roles: Mapping[str, str], encoding: str = "") -> Pairing:
    """Read both files; the n-th reply of an ID answers the n-th record of that ID.

    Raises:
        ConfigError: a file cannot be read, or has no replies.
    """
    replies = _read_replies(answers)
    waiting: dict[str, deque[str]] = defaultdict(deque)
    for identity, reply in replies:
        waiting[identity].append(reply)  # an empty one too: it stands for its record, where IDs repeat
    records = read_records(gold, roles=roles, encoding=encoding, flag=COLUMNS_FLAG)
    rows, missing = [], []
    for record in records.rows:
        reply = waiting[record.id].popleft() if waiting[record.id] else ""
        if not reply:
            missing.append(record.id)
        if not record.error:
            rows.append((record, reply))
    return Pairing(
        rows=tuple(rows),
        replies=len(replies),
        missing=tuple(missing),
        extra=tuple(identity for identity, left in waiting.items() for _ in left),
        unreadable=tuple(record.id for record in records.rows if record.error),
        notes=records.notes,
    )


def _read_replies(path: Path) -> list[tuple[str, str]]:
    """(ID, reply) of every row; rows without an ID are numbered."""
    table = read_table(path)
    found = {column.strip().lower(): column for column in table.columns}
    if "output" not in found:
        raise ConfigError(
            f"{path} has the columns {', '.join(table.columns)}", hint="it needs output, as generate writes"
        )
    identity = found.get("id", "")
    return [
        (cell_text(row.get(identity)).strip() or str(number), cell_text(row[found["output"]]))
        for number, row in enumerate(table.rows, 1)
    ]
