"""Pieces that SentencePiece learns from a corpus, in the order in which they are to be appended."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ToolError, require
from trainer.vocab.corpus import MOST_CHARACTERS
from trainer.vocab.model_file import ModelFile, open_model

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

_CUT = "\x01"
"""Marks the places that no piece may reach across; no text holds it (control characters are removed from texts)."""
_UTF8_BYTES = 4
_SEEDS_PER_PIECE = 4


@dataclass(frozen=True, slots=True)
class Learnt:
    """What SentencePiece made of a corpus."""

    pieces: list[str]
    """The most useful first; the single characters are where SentencePiece puts them."""
    ranks: dict[str, int]
    """BPE pieces that unigram ones were chosen from: the parts of each are among them. Empty for BPE."""
    is_all: bool
    """Whether the corpus gives no more."""


def learn(sentences: Callable[[], Iterable[str]], base: ModelFile, *, kind: str, size: int, split_on: str) -> Learnt:
    """Train a SentencePiece model beside the base's, on its terms: no normalization, digits apart, bytes for the rest.

    Unigram starts from the pieces of a larger BPE. Its own start (substrings, sought byte by byte) finds next to none
    in Tibetan, whose characters all begin with the same two bytes: of 3 million characters only the characters.

    Args:
        sentences: gives the sentences to learn from, each time it is called.
        kind: `bpe` or `unigram`.
        size: most pieces to learn, at least as many as there are characters. Fewer come out where the corpus does not
            give so many.
        split_on: characters after which a piece ends.

    Returns:
        The pieces, and by which ranks missing parts of them are to be chosen.

    Raises:
        ToolError: SentencePiece cannot.
    """
    cut = re.compile(rf"(?<=[{re.escape(split_on)}])") if split_on else None

    def texts() -> Iterable[str]:
        return (cut.sub(_CUT, sentence) for sentence in sentences()) if cut else sentences()

    options = {"remove_extra_whitespaces": base.removes_spaces, "pretokenization_delimiter": _CUT if cut else ""}
    if kind == "bpe":
        pieces = _pieces(_train(texts(), size, model_type="bpe", **options))
        return Learnt(pieces, {}, is_all=len(pieces) < size)
    seeds = _pieces(_train(texts(), size * _SEEDS_PER_PIECE, model_type="bpe", **options))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seeds.tsv"
        # BPE joins the most frequent first: a rank is as good a start as a count.
        ranked = (f"{seed}\t{1 + len(seeds) * 10 // rank}\n" for rank, seed in enumerate(seeds, 1) if "\t" not in seed)
        path.write_text("".join(ranked), encoding="utf-8", newline="\n")
        pieces = _pieces(_train(texts(), size, model_type="unigram", seed_sentencepieces_file=str(path), **options))
    return Learnt(pieces, {seed: rank for rank, seed in enumerate(seeds)}, is_all=len(pieces) < size)


def _pieces(model: SentencePieceProcessor) -> list[str]:
    return [model.id_to_piece(number) for number in range(1, model.get_piece_size())]


def _train(sentences: Iterable[str], size: int, **options: Any) -> SentencePieceProcessor:
    sentencepiece = require("sentencepiece", "train")
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            vocab_size=size + 1,  # and <unk>
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            # A piece that begins a text would otherwise hold the blank that SentencePiece puts there.
            add_dummy_prefix=False,
            split_digits=True,
            byte_fallback=False,
            max_sentence_length=2 * MOST_CHARACTERS * _UTF8_BYTES,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,
            minloglevel=3,
            **options,
        )
    except RuntimeError as error:
        raise ToolError(f"SentencePiece cannot learn from this corpus: {' '.join(str(error).split())}") from error
    return open_model(written.getvalue())
