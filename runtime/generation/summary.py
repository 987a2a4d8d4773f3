"""How a run of `generate` ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.generation.replies import Generated, Prompts


@dataclass(frozen=True, slots=True)
class GenerateSummary:
    """How a run ended. `rows` = `computed` + `from_journal` + `unanswered`."""

    rows: int
    computed: int
    from_journal: int
    unanswered: int
    cut: int
    """Replies that ran out of tokens or context."""
    tokens: int
    """Of all replies, those that equal records share counted once."""
    errors: tuple[tuple[int, str, str], ...]
    """(row number, ID, reason) of every record without a reply."""
    already_made: bool = False


def standing_summary(made: dict[str, Any]) -> GenerateSummary:
    """Of a run whose output stands already, from what it recorded."""
    errors = tuple((number, identity, reason) for number, identity, reason in made["errors"])
    answered = made["rows"] - made["unanswered"]
    return GenerateSummary(**{**made, "errors": errors, "computed": 0, "from_journal": answered, "already_made": True})


def summarise(prompts: Prompts, replies: Mapping[str, Generated], known: set[str]) -> GenerateSummary:
    """Count the rows. `known` are the keys that the journal held when the run began."""
    rows = list(prompts.rows())
    answered = [key for _, key in rows if key in replies]
    reasons = [(record, prompts.reason(record, key)) for record, key in rows if key not in replies]
    used = [replies[key] for key in prompts.unique if key in replies]
    return GenerateSummary(
        rows=len(rows),
        computed=sum(key not in known for key in answered),
        from_journal=sum(key in known for key in answered),
        unanswered=len(reasons),
        cut=sum(replies[key].finish == "length" for key in answered),
        tokens=sum(reply.tokens for reply in used),
        errors=tuple((record.number, record.id, reason) for record, reason in reasons),
    )
