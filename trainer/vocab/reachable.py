"""The extended model, and the proof by SentencePiece itself that text reaches every piece of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs.errors import ToolError
from trainer.tokenizer import SentencePieceTokenizer
from trainer.vocab.candidates import Learnt
from trainer.vocab.extension import SPACE, Extension, extend
from trainer.vocab.model_file import CONTROL, ModelFile, NewPiece, open_model

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

_ROUNDS = 5
_PRIVATE_USE = range(0xF0000, 0xFFFFD)


def fillers(tokenizer: SentencePieceTokenizer, base: ModelFile) -> list[NewPiece]:
    """Pieces for the ids of tokens that were added beside the model, so that these keep their ids and their rows."""
    texts = {id_: text for text, id_ in tokenizer.added.items()}
    known = {base.processor.id_to_piece(number) for number in range(base.pieces)}
    named = (
        (texts[id_] if texts.get(id_, "") and texts[id_] not in known else f"<reserved_{id_}>")
        for id_ in range(base.pieces, tokenizer.size)
    )
    return [NewPiece(text, 0.0, CONTROL) for text in named]


def reachable_extension(
    learnt: Learnt, base: ModelFile, filling: Sequence[NewPiece], size: int
) -> tuple[Extension, bytes]:
    """(the pieces to append, the extended model): what SentencePiece itself does not reach is left out.

    Raises:
        ToolError: pieces stay that are not reached.
    """
    scores = base.normal_pieces()
    texts = {base.processor.id_to_piece(number) for number in range(base.pieces)}
    taken = frozenset(texts - scores.keys()) | {piece.text for piece in filling}
    dead: frozenset[str] = frozenset()
    for _ in range(_ROUNDS):
        found = extend(learnt.pieces, scores, size=size, taken=taken, excluded=dead, ranks=learnt.ranks)
        data = base.extended([*filling, *found.pieces(base.lowest_score)])
        not_reached = _not_reached(found.texts, base.pieces + len(filling), open_model(data))
        if not not_reached:
            return found, data
        dead |= not_reached
    raise ToolError(f"{len(dead)} pieces are not reached by any text, among them {min(dead)}")


def _not_reached(texts: Sequence[str], first_id: int, processor: SentencePieceProcessor) -> frozenset[str]:
    """The pieces that do not come out of their own text, set between two characters that join with nothing."""
    used = frozenset("".join(texts))
    wall = next(chr(code) for code in _PRIVATE_USE if chr(code) not in used)
    walled = [f"{wall}{text.replace(SPACE, ' ')}{wall}" for text in texts]
    found = zip(texts, processor.encode(walled), strict=True)
    return frozenset(text for place, (text, ids) in enumerate(found) if first_id + place not in ids)
