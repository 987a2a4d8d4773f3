"""Which pieces are appended to a vocabulary, in what order, with what scores.

Scores fall strictly and lie below every old one, so that old texts are cut as before and there are no ties, which
SentencePiece, llama.cpp and transformers break in different ways. BPE makes a piece by joining two that exist: one that
no pair makes would be a row that no text ever reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from trainer.vocab.merging import segment
from trainer.vocab.model_file import NewPiece

SPACE = "▁"


@dataclass(slots=True)
class Extension:
    """Pieces to append, and what became of the others."""

    texts: list[str] = field(default_factory=list)
    intermediates: dict[str, None] = field(default_factory=dict)
    """Those of `texts` that were not asked for: parts without which a piece is never made."""
    known: int = 0
    """Candidates that the vocabulary had already."""
    unreachable: list[str] = field(default_factory=list)
    """Candidates that were left out because nothing makes them."""
    beyond: int = 0
    """Candidates that were left out because the size was reached."""

    def pieces(self, lowest_score: float) -> list[NewPiece]:
        """The pieces with their scores.

        Args:
            lowest_score: of the vocabulary that they are appended to.
        """
        first = math.floor(lowest_score) - 1
        return [NewPiece(text, float(first - place)) for place, text in enumerate(self.texts)]


def extend(
    candidates: Iterable[str],
    old: dict[str, float],
    *,
    size: int,
    taken: frozenset[str] = frozenset(),
    excluded: frozenset[str] = frozenset(),
    ranks: Mapping[str, int] | None = None,
) -> Extension:
    """Choose the candidates that are new and can be made, in their order.

    A piece added later scores lower than all before and so never hinders one of them: each needs one look.

    Args:
        old: scores of the vocabulary's pieces.
        size: most pieces to append.
        taken: texts that stand for something else (special tokens, bytes).
        excluded: texts that are found to be unreachable for another reason.
        ranks: which pieces are preferred where parts are missing, the best lowest.
    """
    found = Extension()
    scores = dict(old)
    below = min(old.values(), default=0.0) - 1
    banned = taken | excluded
    # Characters first: without one of them every text that has it falls into bytes, whatever else was added.
    for text in sorted(candidates, key=lambda text: len(text) > 1):
        if text in scores or text in taken or not text.strip(SPACE):
            found.known += text not in scores or text in old
            found.intermediates.pop(text, None)
            continue
        if len(found.texts) >= size:
            found.beyond += 1
            continue
        lowest = below - len(found.texts)
        parts = None if text in excluded else _missing_parts(text, scores, lowest, banned, ranks or {})
        if parts is None:
            found.unreachable.append(text)
        elif len(found.texts) + len(parts) + 1 > size:
            found.beyond += 1
        else:
            found.intermediates |= dict.fromkeys(parts)
            for part in (*parts, text):
                scores[part] = below - len(found.texts)
                found.texts.append(part)
    return found


def _missing_parts(
    text: str, scores: dict[str, float], below: float, banned: frozenset[str], ranks: Mapping[str, int]
) -> list[str] | None:
    """The pieces that must come before `text` for it to be made; None where there are none that may."""
    added = {text: -math.inf}

    def score_of(piece: str) -> float | None:
        return added[piece] if piece in added else scores.get(piece)

    while (symbols := segment(text, score_of)) != [text]:
        joins = [left + right for left, right in pairwise(symbols)]
        allowed = (join for join in joins if join not in banned)
        best = min(allowed, key=lambda join: ranks.get(join, len(ranks)), default="")
        if not best:
            return None
        added[best] = below - len(added)
    return [part for part in added if part != text]
