"""How a BPE vocabulary cuts a text: SentencePiece's rule, which llama.cpp follows."""

from __future__ import annotations

from collections.abc import Callable


def segment(text: str, score_of: Callable[[str], float | None]) -> list[str]:
    """Cut a text into pieces: of all neighbours that make one, the best scored are joined first, left before right.

    Args:
        text: without spaces, which are `▁` in pieces.
        score_of: score of a piece, None of what is none.

    Returns:
        Pieces, and single characters that are none.
    """
    symbols = list(text)
    while True:
        best, place = None, -1
        for at in range(len(symbols) - 1):
            score = score_of(symbols[at] + symbols[at + 1])
            if score is not None and (best is None or score > best):
                best, place = score, at
        if best is None:
            return symbols
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
