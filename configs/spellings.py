"""How a reply may spell a label: as the model was trained to, and as others may write it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.prompt import PromptFormat, Rendered, Tokenizer

Ids = tuple[int, ...]
Spelled = tuple[tuple[Ids, ...], Ids]

_TAIL = 64  # characters of the prompt's end that decide how what follows is segmented: no token is longer
_MOST_INNER = 24
"""Tokens that other spellings may add to an evaluation."""


class Speller:
    """Token ids of the labels after a prompt.

    A spelling counts only where tokenizing prompt and spelling together gives the prompt's own ids and then some: else
    it is no continuation of what the model saw (byte-level BPE joins `:` and `A`). That of the training always counts,
    with the ids that training gave it. The others are the bare label and the label after a blank or a line break.
    """

    def __init__(self, prompt_format: PromptFormat, question_format: QuestionFormat, tokenizer: Tokenizer) -> None:
        self._prompt_format = prompt_format
        self._question_format = question_format
        self._tokenizer = tokenizer
        self._trained = [self._trained_text(label) for label in question_format.labels]
        self._distinct: dict[Spelled, Spelled] = {}

    def spell(self, prompt: Rendered, count: int) -> Spelled:
        """(spellings of the first `count` labels, of which none begins another; for each the label, counted from 0).

        Raises:
            ConfigError: the labels cannot be told apart.
        """
        last = prompt.pieces[-1]
        before = "" if last.special else last.text[-_TAIL:]
        own = self._tokenizer.plain(before)
        trained = [
            self._continuation(before, own, text) or tuple(self._tokenizer.plain(text))
            for text in self._trained[:count]
        ]
        spelled = [(ids, number) for number, ids in enumerate(trained)]
        for number, label in enumerate(self._question_format.labels[:count]):
            for text in (label, f" {label}", f"\n{label}"):
                ids = self._continuation(before, own, text)
                if ids and all(ids != other for other, _ in spelled):
                    spelled.append((ids, number))
        others_confuse = _begins([ids for ids, _ in spelled]) and not _begins(trained)
        if others_confuse or len({ids[:end] for ids, _ in spelled for end in range(1, len(ids))}) > _MOST_INNER:
            spelled = spelled[:count]
        spelled.sort(key=lambda one: one[1])
        found = self._told_apart([ids for ids, _ in spelled]), tuple(number for _, number in spelled)
        return self._distinct.setdefault(found, found)  # a sheet's rows are many, their spellings few

    def _continuation(self, before: str, own: list[int], text: str) -> Ids:
        """The ids of a text after the prompt's end; none where they would change the end's own."""
        whole = self._tokenizer.plain(before + text)
        return tuple(whole[len(own) :]) if whole[: len(own)] == own else ()

    def _trained_text(self, label: str) -> str:
        """What the template writes for a reply, up to the special token that ends it."""
        _, reply = self._prompt_format.split(
            [{"role": "user", "content": "?"}, {"role": "assistant", "content": label}]
        )
        return "" if reply.pieces[0].special else reply.pieces[0].text

    def _told_apart(self, spelled: Sequence[Ids]) -> tuple[Ids, ...]:
        """If one begins another (`1`, `10`), each with the token that ends a reply."""
        if not _begins(spelled):
            return tuple(spelled)
        prompt_format = self._prompt_format
        end = next((stop for stop in prompt_format.stops if stop in prompt_format.special_tokens), None)
        if end is None:
            raise ConfigError(
                f"one label of {self._question_format.name} begins another",
                hint=f"and prompt format {prompt_format.name} has no special token that would tell them apart",
            )
        ended = tuple((*ids, self._tokenizer.special(end)) for ids in spelled)
        if _begins(ended):
            raise ConfigError(f"two labels of {self._question_format.name} are the same tokens to this model")
        return ended


def _begins(spelled: Sequence[Ids]) -> bool:
    ordered = sorted(spelled)  # what begins another comes right before one that it begins
    return any(after[: len(ids)] == ids for ids, after in pairwise(ordered))
