"""What the demo's base model reads before any exam: plain texts that teach it to find facts and to number options.

It never sees a passage, options and a label together: joining the two skills is left to the LoRA adapter.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import sentencepiece
import world

from configs.formats import Formats
from configs.prompt import Rendered, encode

# Tokens that carry an answer count fully, the others only so far as language helps them.
ANSWER_WEIGHT = 1.0
OTHER_WEIGHT = 0.1


class Vocabulary:
    """The demo's tokenizer as `configs.prompt.encode` wants it."""

    def __init__(self, pieces: sentencepiece.SentencePieceProcessor) -> None:
        self._pieces = pieces

    def plain(self, text: str) -> list[int]:
        """Ids of plain text."""
        return list(self._pieces.encode(text))

    def special(self, token: str) -> int:
        """Id of a special token."""
        return int(self._pieces.piece_to_id(token))


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids and the weight of each as a target."""

    ids: list[int]
    weights: list[float]


class Library:
    """Draws documents at random, none of which shows a held-out passage."""

    def __init__(self, formats: Formats, vocabulary: Vocabulary, held_out: frozenset[str], seed: int) -> None:
        self._formats = formats
        self._vocabulary = vocabulary
        self._held_out = held_out
        self._draw = random.Random(seed)
        self._kinds = (self._answered, self._checked, self._numbered, self._chatted)

    def document(self) -> Document:
        """One document: questions answered in words, values checked for presence, a numbered list, or a chat."""
        kind = self._draw.choices(self._kinds, weights=(40, 25, 25, 10))[0]
        return kind()

    def _story(self) -> world.Story:
        while (story := world.story(self._draw)).passage in self._held_out:
            pass
        return story

    def _answered(self) -> Document:
        story = self._story()
        parts = [(story.passage + "\n", False)]
        for fact in self._draw.sample(story.facts, 4):
            parts += [(f"問題:{story.question(fact)}\n回答:", False), (fact.value, True), ("\n", False)]
        return weighed(parts, self._vocabulary)

    def _checked(self) -> Document:
        story = self._story()
        stated = {fact.value for fact in story.facts}
        values = [value for fact in story.facts for value in fact.category.values]
        self._draw.shuffle(values)
        parts = [(f"{story.passage}\n檢查:", False)]
        for value in values:
            parts += [(value, False), ("有" if value in stated else "無", True)]
        return weighed(parts, self._vocabulary)

    def _numbered(self) -> Document:
        category = self._draw.choice(world.CATEGORIES)
        values = self._draw.sample(category.values, 4)
        parts = [("".join(f"{place}: {value}\n" for place, value in enumerate(values, 1)), False)]
        for value in self._draw.sample(values, 4):
            parts += [(f"{value}是", False), (str(values.index(value) + 1), True), ("。", False)]
        return weighed(parts, self._vocabulary)

    def _chatted(self) -> Document:
        story = self._story()
        fact = self._draw.choice(story.facts)
        user = {"role": "user", "content": f"{story.passage}\n\n{story.question(fact)}"}
        prompt, target = self._formats.prompt.split([user, {"role": "assistant", "content": fact.value}])
        start = self._ids(prompt)
        reply = self._ids(target)
        return Document(start + reply, [OTHER_WEIGHT] * len(start) + [ANSWER_WEIGHT] * len(reply))

    def _ids(self, rendered: Rendered) -> list[int]:
        return encode(rendered, self._vocabulary)


def weighed(parts: list[tuple[str, bool]], vocabulary: Vocabulary) -> Document:
    """`<s>`, the parts, `</s>`; tokenized whole, each token weighed by the part in which it ends.

    Args:
        parts: texts, and whether each is an answer.
    """
    whole = "".join(text for text, _ in parts)
    ids, weights = [vocabulary.special("<s>")], [OTHER_WEIGHT]
    done = 0
    for text, is_answer in parts:
        done += len(text)
        upto = vocabulary.plain(whole[:done])
        weights += [ANSWER_WEIGHT if is_answer else OTHER_WEIGHT] * (len(upto) + 1 - len(weights))
    ids += vocabulary.plain(whole)
    return Document([*ids, vocabulary.special("</s>")], [*weights, OTHER_WEIGHT])
