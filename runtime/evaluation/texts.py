"""Free text: exact match and character F1, after what does not matter has been taken away."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from configs.accuracy import Accuracy


@dataclass(frozen=True, slots=True)
class TextScores:
    """Over all rows that have a known reply."""

    exact: Accuracy
    f1: float | None
    """Mean over the rows of the best F1 that any of the known replies gives; None without rows."""


def score_texts(rows: Iterable[tuple[tuple[str, ...], str]]) -> TextScores:
    """Score replies, each with the known ones (several are alternatives)."""
    exact, shares = 0, []
    for references, reply in rows:
        exact += any(normalise(reply) == normalise(reference) for reference in references)
        shares.append(max(character_f1(reference, reply) for reference in references))
    return TextScores(Accuracy(exact, len(shares)), sum(shares) / len(shares) if shares else None)


def character_f1(reference: str, reply: str) -> float:
    """F1 over the characters of both as multisets, as SQuAD's over words; two empty texts agree."""
    wanted, given = Counter(normalise(reference)), Counter(normalise(reply))
    total = wanted.total() + given.total()
    return 2 * (wanted & given).total() / total if total else 1.0


def normalise(text: str) -> str:
    """Width and case made one (NFKC, casefold); blanks, punctuation and control characters removed."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if unicodedata.category(character)[0] not in "ZPC")
