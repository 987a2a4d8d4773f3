"""A base model of the demo's size that can find names in a text, but has never seen the question it will be asked.

Its documents list what a text names in plain words of its own (`列出:欣怡/人,台北/地`, `人:欣怡。地:台北。店:無。`). The question
in the wording of `configs/entities/msra.toml`, the prompt around it and the form of the reply are left to the LoRA adapter.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import sentencepiece
from documents import Document, Vocabulary, weighed
from pretrain import train, write_model
from texts import Entity, text
from vocabulary import train_tokenizer

from configs.atomic import staged_folder
from configs.entity import EntityFormat
from configs.formats import Formats

PIECES = 800
STEPS = 400
_TAGS = {"PER": "人", "LOC": "地", "ORG": "店"}


class Lists:
    """Draws documents at random, none of which shows a held-out text."""

    def __init__(self, vocabulary: Vocabulary, held_out: frozenset[str], seed: int) -> None:
        self._vocabulary = vocabulary
        self._held_out = held_out
        self._draw = random.Random(seed)

    def document(self) -> Document:
        """A text, and what it names: in its order, or kind by kind."""
        while (found := text(self._draw))[0] in self._held_out:
            pass
        words, entities = found
        entities = list(dict.fromkeys(entities))
        make = self._draw.choice((self._in_order, self._by_kind))
        return weighed([(f"{words}\n", False), *make(entities), ("\n", True)], self._vocabulary)

    def _in_order(self, entities: list[Entity]) -> list[tuple[str, bool]]:
        listed = ",".join(f"{entity}/{_TAGS[kind]}" for entity, kind in entities)
        return [("列出:", False), (listed or "無", True)]

    def _by_kind(self, entities: list[Entity]) -> list[tuple[str, bool]]:
        parts: list[tuple[str, bool]] = []
        for kind in self._draw.sample(sorted(_TAGS), 3):
            named = "、".join(entity for entity, of_kind in entities if of_kind == kind)
            parts += [(f"{_TAGS[kind]}:", False), (named or "無", True), ("。", False)]
        return parts


def make_base(folder: Path, held_out: frozenset[str], *, seed: int, steps: int = STEPS) -> None:
    """Train tokenizer and model, and write them as a Hugging Face folder."""
    formats = Formats.load("alpaca2")
    with staged_folder(folder) as staged:
        pieces = _tokenizer(staged / "tokenizer.model", formats, seed)
        library = Lists(Vocabulary(pieces), held_out, seed)
        write_model(train(pieces, library, seed=seed, steps=steps), formats, staged)


def _tokenizer(path: Path, formats: Formats, seed: int) -> sentencepiece.SentencePieceProcessor:
    """The demo's tokenizer with the words of the question and of the lists: fewer tokens, a quicker example."""
    asked = EntityFormat.load("msra")
    phrases = [word for word in re.split(r"[\s'_，。、：]+", asked.question("")) if word]
    words = [*phrases, *asked.types.values(), asked.none, "列出:", "人:", "地:", "店:", "/人", "/地", "/店", "_", "'"]
    return train_tokenizer(path, formats, seed=seed, more=words, size=PIECES)
