"""The demo's SentencePiece tokenizer: 704 pieces, byte fallback, every word of the small world one piece."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
import world

from configs.formats import Formats

PIECES = 704


def train_tokenizer(
    model: Path, formats: Formats, *, seed: int, more: Sequence[str] = (), size: int = PIECES
) -> sentencepiece.SentencePieceProcessor:
    """Train the tokenizer on words of the small world, and `more` of them, and write it.

    The words are joined by `、` and no line begins with one: a blank, which SentencePiece would glue to the word after
    it, never stands before a word. So a word is the same piece in `1: 蘋果` and in the passage.
    """
    draw = random.Random(seed)
    words = [*world.NAMES, *world.VALUES] * 8
    words += [
        text.replace("N", "").replace("V", "、") for c in world.CATEGORIES for pair in c.wordings for text in pair
    ]
    words += ["問題:", "回答:", "檢查:", "有", "無", "是", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"]
    words += formats.prompt.system.split() + "請根據以下文章，以數字回答選擇題:".split()
    words += more
    lines = []
    for _ in range(400):
        draw.shuffle(words)
        lines.append("、" + "、".join(words))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(model.with_suffix("")),
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        split_digits=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        max_sentence_length=100_000,
        hard_vocab_limit=False,
        required_chars="1234567890:,。?、",
        num_threads=1,
        minloglevel=2,
    )
    model.with_suffix(".vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    _check(pieces)
    return pieces


def _check(pieces: sentencepiece.SentencePieceProcessor) -> None:
    for word in (*world.NAMES, *world.VALUES):
        # After a full stop and after the blank of `1: `, a word must be the same single piece.
        if pieces.encode(f"。{word}", out_type=str)[-1] != word or pieces.encode(f": {word}", out_type=str)[-1] != word:
            raise RuntimeError(f"the demo's tokenizer splits {word}: {pieces.encode(f': {word}', out_type=str)}")
    if pieces.encode("[/INST] 1", out_type=str)[-2:] != ["▁", "1"]:
        raise RuntimeError("the demo's tokenizer joins the label with its blank")
