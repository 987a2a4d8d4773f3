"""An exam question, the text a model reads of it, and its labels."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from jinja2 import StrictUndefined, Template, TemplateError
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from configs import chinese, files
from configs.errors import ConfigError
from configs.prompt import Message, PromptFormat, Tokenizer, encode_split, parse_toml, to_toml, validation_sentence
from configs.records import cell_text
from configs.sandbox import BoundedEnvironment

MAX_CHOICES = 26

Conversion = Literal["", "t2s", "s2t", "tw2s", "tw2sp", "s2tw", "s2twp", "t2tw", "tw2t", "hk2s", "s2hk"]

_LABEL = re.compile(
    r"^(?:選項|选项|答案|OPTION|CHOICE|ANSWER)?[\s:]*[(\[]?\s*(?:(\d{1,2})(?:\.0)?|([A-Z]))\s*[)\].、:]?$"
)

# Not text at all: no model reads them, and terminals obey them. The newline and the tab stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Question:
    """One multiple-choice question on a passage."""

    passage: str
    question: str
    choices: tuple[str, ...]
    answer: int | None = None
    """Place of the right choice, counted from 1; None where it is not known."""

    @property
    def answerable(self) -> tuple[int, ...]:
        """Places, counted from 1, of the choices that are not blank."""
        return tuple(place for place, choice in enumerate(self.choices, 1) if choice)


class QuestionFormat(BaseModel):
    """How a question becomes the user's message, and what its options are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    template: str
    """Jinja template over `passage`, `question` and `options`, each with `label` and `text`."""
    labels: tuple[str, ...]
    """Names of the options, in order; the model answers with one of them."""
    convert: Conversion = ""
    """OpenCC conversion of passage, question and options, such as t2s; empty for none."""

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if not 2 <= len(labels) <= MAX_CHOICES or len(set(labels)) != len(labels) or not all(labels):
            raise ValueError(f"2 to {MAX_CHOICES} distinct labels are needed")
        return labels

    @classmethod
    def load(cls, name_or_path: str) -> QuestionFormat:
        """The shipped format of that name, or the user's file."""
        path = files.find("questions", name_or_path)
        return cls.from_toml(files.read_text(path), source=str(path))

    @classmethod
    def from_toml(cls, text: str, source: str = "question format") -> QuestionFormat:
        """Parse and check one format.

        Raises:
            ConfigError: not TOML, unknown or missing keys, or a template that loses a part of the question.
        """
        return cls.from_table(parse_toml(text, source), source)

    @classmethod
    def from_table(cls, table: dict[str, Any], source: str) -> QuestionFormat:
        """Check a parsed table."""
        try:
            question_format = cls.model_validate(table)
            probe = question_format.model_copy(update={"convert": ""})
            text = probe.text(Question("⟨passage⟩", "⟨question⟩", ("⟨first⟩", "⟨second⟩")))
        except ValidationError as error:
            raise ConfigError(f"{source}: {validation_sentence(error)}") from error
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
        for part in ("⟨passage⟩", "⟨question⟩", "⟨first⟩", "⟨second⟩", *question_format.labels[:2]):
            if part not in text:
                raise ConfigError(f"{source}: the template leaves out {part.strip('⟨⟩')}")
        return question_format

    def to_toml(self) -> str:
        """The format as TOML text that `from_toml` reads back unchanged."""
        return to_toml(self.model_dump())

    def with_convert(self, conversion: str) -> QuestionFormat:
        """The same format with another OpenCC conversion."""
        return self.from_table({**self.model_dump(), "convert": conversion}, "--convert")

    def label(self, place: int) -> str:
        """The label of a choice, counted from 1."""
        return self.labels[place - 1]

    def shown(self, question: Question) -> Question:
        """The question as the model reads it.

        Without control characters, and converted, unless two options would become the same text.
        """
        fields = [without_control(text) for text in (question.passage, question.question, *question.choices)]
        if self.convert:
            converted = chinese.convert(fields, self.convert)
            if not _collapsed(fields[2:], converted[2:]):
                fields = converted
        passage, asked, *choices = fields
        return Question(passage, asked, tuple(choices), question.answer)

    def converted(self, text: str) -> str:
        """A text that belongs to a question, such as its explanation, in the script the question is shown in."""
        return chinese.convert([text], self.convert)[0] if self.convert else text

    def collapses(self, question: Question) -> bool:
        """Whether the conversion would make two options the same, so that the question is shown as it was typed."""
        if not self.convert:
            return False
        choices = [without_control(text) for text in question.choices]
        return _collapsed(choices, chinese.convert(choices, self.convert))

    def text(self, question: Question) -> str:
        """The user's message: the question as the model reads it.

        Raises:
            ConfigError: the question has more options than the format has labels.
        """
        if len(question.choices) > len(self.labels):
            raise ConfigError(
                f"{len(question.choices)} options, but question format {self.name} has {len(self.labels)} labels"
            )
        shown = self.shown(question)
        options = [{"label": label, "text": text} for label, text in zip(self.labels, shown.choices, strict=False)]
        try:
            return self._environment.fill(
                self._compiled, passage=shown.passage, question=shown.question, options=options
            )
        except TemplateError as error:
            raise ConfigError(f"question format {self.name}: the template does not render: {error}") from error

    def messages(self, question: Question) -> list[Message]:
        """The user's message, and the assistant's label where the answer is known."""
        messages = [{"role": "user", "content": self.text(question)}]
        if question.answer is not None:
            messages.append({"role": "assistant", "content": self.label(question.answer)})
        return messages

    @cached_property
    def _compiled(self) -> Template:
        return self._environment.compile_template(self.template)

    @cached_property
    def _environment(self) -> BoundedEnvironment:
        return BoundedEnvironment(keep_trailing_newline=True, undefined=StrictUndefined)


def _collapsed(texts: Sequence[str], converted: Sequence[str]) -> bool:
    return len(set(converted)) < len(set(texts))


def without_control(text: str) -> str:
    """The text without control characters, but for newlines and tabs."""
    return _CONTROL.sub("", text)


def parse_label(cell: object, choices: int) -> tuple[int, bool]:
    """(place of the named choice, whether the cell had to be normalised).

    `3`, `'3'`, `選項3`, `３` and `C` all name the third.

    Raises:
        ValueError: the cell names none of the choices.
    """
    if isinstance(cell, (int, float)) and not isinstance(cell, bool) and float(cell).is_integer():
        place, normalised = int(cell), False
    else:
        text = unicodedata.normalize("NFKC", str(cell)).strip().upper()
        found = _LABEL.match(text) if isinstance(cell, str) else None
        if not found:
            raise ValueError(f"'{cell_text(cell)}' names no option")
        place, normalised = int(found[1]) if found[1] else ord(found[2]) - ord("A") + 1, True
    if not 1 <= place <= choices:
        raise ValueError(f"'{cell_text(cell)}' is not one of the {choices} options")
    return place, normalised


def label_ids(
    prompt_format: PromptFormat, question_format: QuestionFormat, question: Question, tokenizer: Tokenizer
) -> tuple[list[int], list[list[int]]]:
    """(prompt ids, ids of each option's label as it was trained, without what ends the reply).

    For `alpaca2` a label is two tokens, `▁` and the digit: whoever scores labels evaluates their common start once.
    """
    user: list[Message] = [{"role": "user", "content": question_format.text(question)}]
    prompt: list[int] = []
    labels: list[list[int]] = []
    for label in question_format.labels[: len(question.choices)]:
        messages = [*user, {"role": "assistant", "content": label}]
        prompt, target = encode_split(prompt_format, messages, tokenizer)
        labels.append(target[: len(target) - _closing_tokens(prompt_format, messages, tokenizer)])
    return prompt, labels


def _closing_tokens(prompt_format: PromptFormat, messages: Sequence[Message], tokenizer: Tokenizer) -> int:
    """Number of tokens from the reply's end on: the template's first special token after the reply, and the rest."""
    pieces = prompt_format.split(messages)[1].pieces
    first = next((index for index, piece in enumerate(pieces) if piece.special), len(pieces))
    return sum(1 if piece.special else len(tokenizer.plain(piece.text)) for piece in pieces[first:])
