"""The texts of a corpus, sentence by sentence, and the few that are held out to measure on; none is kept in memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from configs.errors import ConfigError
from trainer.datasets.folder import Row
from trainer.datasets.sources import Source
from trainer.datasets.wording import Wording

MOST_CHARACTERS = 1_000
"""Of a sentence; a longer one is cut at a space or where the user cuts, else anywhere."""
HELD_OUT_SHARE = 0.1
MOST_HELD_OUT = 10_000
"""Sentences."""

# SentencePiece leaves out a sentence with this character (its mark for the unknown), and says nothing.
_UNKNOWN_MARK = "▅"
_ENDS = re.compile(rf"(?<=[。！？!?།༎༏༑༔।॥။؟۔])(?![。！？!?།༎༏༑༔।॥။؟۔\s])|[\r\n{_UNKNOWN_MARK}]+")
_HASH_END = 1 << 64


@dataclass(slots=True)
class Counts:
    """What a corpus holds."""

    texts: int = 0
    rejected: int = 0
    first_reason: str = ""
    sentences: int = 0
    characters: int = 0
    cut_anywhere: int = 0
    """Sentences that were so long, without a place to cut, that they were cut anywhere."""


class Corpus:
    """The sentences of all sources, gone through as often as needed."""

    def __init__(self, sources: list[Source], split_on: str) -> None:
        """Go through the sources once, to know how much there is.

        Args:
            split_on: characters after which a long sentence may be cut, as after a space.

        Raises:
            ConfigError: there is no sentence in them.
        """
        self._sources = sources
        self._wording = Wording.of(sorted({source.kind for source in sources}), "alpaca2", "", "")
        self._space = re.compile(rf"[\s{re.escape(split_on)}]")
        self.counts = Counts()
        characters: set[str] = set()
        lowest, highest = _HASH_END, -1
        for sentence in self._sentences(self.counts):
            here = _hash(sentence)
            lowest, highest = min(lowest, here), max(highest, here)
            characters.update(sentence)
        self.alphabet = frozenset(characters)
        if not self.counts.sentences:
            reason = f": {self.counts.first_reason}" if self.counts.first_reason else ""
            raise ConfigError(f"the corpus holds no text{reason}")
        if lowest == highest:
            raise ConfigError("the corpus is a single sentence", hint="some are held out to measure on: give more text")
        share = min(HELD_OUT_SHARE, MOST_HELD_OUT / self.counts.sentences)
        # Of a corpus of a few sentences at least one is held out, and one is not.
        self._held_out_below = min(max(int(share * _HASH_END), lowest + 1), highest)

    def training(self, most_characters: int) -> Iterator[str]:
        """Sentences to learn from: all but those held out, or as many of them as have about `most_characters`."""
        kept = min(1.0, most_characters / self.counts.characters)
        below = self._held_out_below + int(kept * (_HASH_END - self._held_out_below))
        return (sentence for sentence in self._sentences() if self._held_out_below <= _hash(sentence) < below)

    def held_out(self) -> list[str]:
        """Sentences that are not learnt from, each once; the same ones each time."""
        chosen = (sentence for sentence in self._sentences() if _hash(sentence) < self._held_out_below)
        return list(dict.fromkeys(chosen))

    def _sentences(self, counts: Counts | None = None) -> Iterator[str]:
        counts = counts or Counts()
        for source in self._sources:
            for found in source.rows(self._wording.formats.question, self._wording.entities):
                if found.row is None:
                    counts.rejected += 1
                    counts.first_reason = counts.first_reason or found.reason
                    continue
                counts.texts += 1
                for sentence in _ENDS.split(_text(found.row)):
                    yield from self._short(sentence.strip(), counts)

    def _short(self, sentence: str, counts: Counts) -> Iterator[str]:
        """The sentence in parts of a length that SentencePiece takes: longer ones it would leave out."""
        while sentence:
            part = sentence[:MOST_CHARACTERS]
            if len(sentence) > MOST_CHARACTERS:
                cuts = [found.end() for found in self._space.finditer(part)]
                counts.cut_anywhere += not cuts
                part = part[: cuts[-1]] if cuts else part
            counts.sentences += 1
            counts.characters += len(part)
            yield part
            sentence = sentence[len(part) :]


def _text(row: Row) -> str:
    """What the row says, of an exam question without the wording that it is asked in."""
    if row.question:
        return "\n".join((row.question.passage, row.question.question, *row.question.choices))
    return row.text or "\n".join(message["content"] for message in row.messages)


def _hash(sentence: str) -> int:
    return int.from_bytes(hashlib.blake2b(sentence.encode(), digest_size=8).digest(), "big")
