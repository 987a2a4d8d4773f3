"""Named entities: precision, recall and F1 over the distinct (entity, type) pairs of each text.

A model writes `entity_type` lines, or `没有` where there is none; it says what was named, not where, so the pairs of a
text are a set on both sides.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from configs.instructions import Record

NONE = ("没有", "沒有", "无", "無", "none")
_TYPES = {
    "人名": "PER", "地名": "LOC", "机构名": "ORG", "機構名": "ORG", "机构": "ORG", "組織": "ORG", "组织": "ORG",
    "person": "PER", "location": "LOC", "organization": "ORG", "organisation": "ORG",
}  # fmt: skip

Pairs = frozenset[tuple[str, str]]


@dataclass(slots=True)
class Counts:
    """Pairs found in both, only in the answers, only in the gold."""

    correct: int = 0
    spurious: int = 0
    missed: int = 0

    def add(self, gold: Pairs, answered: Pairs) -> None:
        self.correct += len(gold & answered)
        self.spurious += len(answered - gold)
        self.missed += len(gold - answered)

    @property
    def precision(self) -> float | None:
        """None where nothing was answered."""
        return _share(self.correct, self.correct + self.spurious)

    @property
    def recall(self) -> float | None:
        """None where nothing was to be found."""
        return _share(self.correct, self.correct + self.missed)

    @property
    def f1(self) -> float | None:
        """2·correct / (answered + gold); None where there is neither."""
        return _share(2 * self.correct, 2 * self.correct + self.spurious + self.missed)


@dataclass(slots=True)
class EntityScores:
    """Over all texts."""

    micro: Counts = field(default_factory=Counts)
    by_type: dict[str, Counts] = field(default_factory=dict)
    rows: int = 0
    exact: int = 0
    """Texts whose pairs are all right, with no other and nothing unreadable beside them."""
    unreadable: int = 0
    """Answers with a line that is no `entity_type`; the line counts for nothing."""
    not_in_text: int = 0
    """Answered pairs whose entity does not occur in the text."""

    @property
    def macro_f1(self) -> float | None:
        """Mean of the types' F1."""
        shares = [counts.f1 for counts in self.by_type.values() if counts.f1 is not None]
        return sum(shares) / len(shares) if shares else None


def score_entities(rows: Iterable[tuple[Record, str]]) -> EntityScores:
    """Score answers, each with the record that holds its gold entities."""
    scores = EntityScores()
    for record, answer in rows:
        gold = gold_pairs(record)
        assert gold is not None
        answered, whole = parse_answer(answer)
        scores.rows += 1
        scores.exact += whole and gold == answered
        scores.unreadable += not whole
        scores.not_in_text += sum(entity not in record.asked for entity, _ in answered)
        scores.micro.add(gold, answered)
        for kind in {kind for _, kind in gold | answered}:
            of_kind = (frozenset(pair for pair in pairs if pair[1] == kind) for pairs in (gold, answered))
            scores.by_type.setdefault(kind, Counts()).add(*of_kind)
    scores.by_type = dict(sorted(scores.by_type.items()))
    return scores


def parse_answer(text: str) -> tuple[Pairs, bool]:
    """The pairs that an answer names, and whether every line of it could be read."""
    pairs: set[tuple[str, str]] = set()
    whole = bool(text.strip())
    for line in filter(None, (line.strip() for line in text.splitlines())):
        entity, sign, kind = (part.strip() for part in line.replace("＿", "_").rpartition("_"))
        if sign and entity and kind:
            pairs.add((entity, _type(kind)))
        elif line.rstrip("。.").lower() not in NONE:
            whole = False
    return frozenset(pairs), whole


def gold_pairs(record: Record) -> Pairs | None:
    """What should be named: the record's entity list, else its known reply; None if that is no list of entities."""
    if record.entities is not None:
        return frozenset((entity.text.strip(), _type(entity.kind)) for entity in record.entities)
    pairs, whole = parse_answer(record.references[0]) if record.references else (frozenset(), False)
    return pairs if whole else None


def holds_entities(records: Sequence[Record]) -> bool:
    """Whether the gold answers are lists of entities, at least one of them with an entity."""
    golds = [gold_pairs(record) for record in records if not record.error]
    return bool(golds) and all(gold is not None for gold in golds) and any(golds)


def _type(kind: str) -> str:
    name = unicodedata.normalize("NFKC", kind).strip()
    return _TYPES.get(name.lower(), name)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
