"""The options of an exam row in another order each time it is trained: no label and no place is worth guessing.

A model trained on one order learns which option goes with a question, and leans to the labels that its sheet has most.
The answer's label moves with its option; options like `以上皆是` and blank ones stay where they are.
"""

from __future__ import annotations

import random
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import overload

from configs.exam import Question
from configs.formats import Formats
from configs.option_order import movable, reordered
from trainer.examples import Example
from trainer.replies import encode_conversation
from trainer.tokenizer import SentencePieceTokenizer

_NAMES_AN_OPTION = re.compile(
    r"選項|选项|(?i:option|choice)|[(（]\s*[A-Za-z0-9]\s*[)）]|第\s*[一二三四五\d]\s*(個|个|項|项)"
    # `故選C`, `B錯`. A name such as `A計畫` keeps the order too, which does no harm.
    r"|(?<![A-Za-z])[A-Z](?![A-Za-z])|[選选]\s*[a-z一二三四五](?![A-Za-z])"
)
_KEPT = 256


class ShuffledExamples(Sequence[Example]):
    """Examples whose exam rows have another order of their options in every turn: number = turn * rows + row."""

    def __init__(
        self, examples: Sequence[Example], formats: Formats, tokenizer: SentencePieceTokenizer, *, max_length: int,
        seed: int,
    ) -> None:  # fmt: skip
        self._examples = examples
        self._formats = formats
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._seed = seed
        self._made = lru_cache(_KEPT)(self._make)

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, number: int) -> Example: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Example]: ...
    def __getitem__(self, number: int | slice) -> Example | Sequence[Example]:
        """The row of that number in the turn of that number."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        return self._made(number)

    def _make(self, number: int) -> Example:
        turn, row = divmod(number, len(self._examples))
        example = self._examples[row]
        if example.question is None or not self._formats.question or self._is_bound(example):
            return example
        question = shuffled(example.question, random.Random(f"{self._seed}:{row}:{turn}"))  # noqa: S311
        messages = self._formats.question.messages(question)
        if example.explanation:
            messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']}\n{example.explanation}"}
        ((ids, spans),) = encode_conversation(self._formats.prompt, messages, self._tokenizer)
        if len(ids) > self._max_length:  # a token more at a joint: this once the order stays
            return example
        return replace(example, ids=array("i", ids), trained=spans, question=question)

    def _is_bound(self, example: Example) -> bool:
        """Whether the explanation speaks of options by their names, which would be other ones."""
        text = unicodedata.normalize("NFKC", example.explanation)  # ① is 1, Ａ is A
        assert self._formats.question is not None
        return bool(text) and (
            bool(_NAMES_AN_OPTION.search(text)) or any(label in text for label in self._formats.question.labels)
        )


def shuffled(question: Question, draw: random.Random) -> Question:
    """The question with those of its options that may move in an order drawn from all."""
    places = movable(question)
    order = list(range(1, len(question.choices) + 1))
    for place, option in zip(places, draw.sample(places, len(places)), strict=True):
        order[place - 1] = option
    return reordered(question, tuple(order))


def in_turns(sequences: Sequence[tuple[int, ...]], rows: int) -> list[tuple[int, ...]]:
    """The run's sequences with the numbers that `ShuffledExamples` knows: each row's first time is turn 0."""
    turns: Counter[int] = Counter()
    numbered = []
    for sequence in sequences:
        numbered.append(tuple(turns[row] * rows + row for row in sequence))
        turns.update(sequence)
    return numbered
