"""The one renderer of prompts: messages -> pieces of text, in which only the template can write special tokens.

A prompt format is data (`configs/prompts/*.toml`): a Jinja chat template, the system text it falls back on, the special
tokens it writes and the strings that end a reply. The same template text goes into the adapter's tokenizer and the
GGUF, so that every program that reads it renders the same bytes.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from jinja2 import Template, TemplateError
from pydantic import BaseModel, ConfigDict, ValidationError

from configs import files
from configs.errors import ConfigError, ToolError
from configs.sandbox import BoundedEnvironment, raise_exception

Message = dict[str, str]

_PRIVATE_USE = range(0xE000, 0xF900)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of plain text, or one special token that the template wrote."""

    text: str
    special: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered conversation. Plain runs are as long as they can be: SentencePiece segments across joints."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The flat string: for display and golden tests, never for tokenizing."""
        return "".join(piece.text for piece in self.pieces)

    def cut(self, length: int) -> tuple[Rendered, Rendered]:
        """Split after `length` characters of `text`."""
        before: list[Piece] = []
        after: list[Piece] = []
        for piece in self.pieces:
            head, tail = piece.text[: max(length, 0)], piece.text[max(length, 0) :]
            if piece.special and head and tail:
                raise ToolError(f"a prompt cannot be cut inside the special token {piece.text}")
            before += [Piece(head, piece.special)] if head else []
            after += [Piece(tail, piece.special)] if tail else []
            length -= len(piece.text)
        return Rendered(tuple(before)), Rendered(tuple(after))


class Tokenizer(Protocol):
    """What `encode` needs of a tokenizer; trainer and runtime each bring their own."""

    def plain(self, text: str) -> list[int]:
        """Ids of plain text: no BOS, and nothing in it becomes a special token."""

    def special(self, token: str) -> int:
        """Id of a special token; ConfigError if the vocabulary lacks it."""


class PromptFormat(BaseModel):
    """How a conversation becomes the text a model was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    system: str
    """System text where the conversation brings none; empty for none."""
    special_tokens: tuple[str, ...]
    """Special tokens that the template writes as text; row text can never become one of them."""
    stops: tuple[str, ...]
    """Strings that end a reply."""
    template: str
    """Jinja template over `messages`, `add_generation_prompt` and `default_system`."""

    @classmethod
    def load(cls, name_or_path: str) -> PromptFormat:
        """The shipped format of that name, or the user's file."""
        path = files.find("prompts", name_or_path)
        return cls.from_toml(files.read_text(path), source=str(path))

    @classmethod
    def from_toml(cls, text: str, source: str = "prompt format") -> PromptFormat:
        """Parse and check one format.

        Raises:
            ConfigError: not TOML, unknown or missing keys, or a template that does not compile.
        """
        return cls.from_table(parse_toml(text, source), source)

    @classmethod
    def from_table(cls, table: dict[str, Any], source: str) -> PromptFormat:
        """Check a parsed table."""
        try:
            prompt_format = cls.model_validate(table)
        except ValidationError as error:
            raise ConfigError(f"{source}: {validation_sentence(error)}") from error
        prompt_format._check_template(source)
        return prompt_format

    def to_toml(self) -> str:
        """The format as TOML text that `from_toml` reads back unchanged."""
        return to_toml(self.model_dump())

    @property
    def chat_template(self) -> str:
        """The Jinja text to embed in a tokenizer or a GGUF: the template with its system text baked in."""
        return f"{{%- set default_system = {json.dumps(self.system, ensure_ascii=False)} -%}}{self.template}"

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Rendered:
        """Render a conversation (an optional system message, then user and assistant in turn).

        Raises:
            ConfigError: the roles are out of order, or the template refuses the conversation.
        """
        check_roles(messages)
        mark = _absent_character(message["content"] for message in messages)
        marked = [{**message, "content": self._disarm(message["content"], mark)} for message in messages]
        try:
            flat = self._environment.fill(self._compiled, messages=marked, add_generation_prompt=add_generation_prompt)
        except TemplateError as error:
            raise ConfigError(f"prompt format {self.name}: {error}") from error
        return self._pieces(flat, mark)

    def prompt(self, messages: Sequence[Message]) -> Rendered:
        """What the model sees before it replies.

        Blanks at the end are left to the reply: SentencePiece joins a blank with the word that follows it.
        """
        rendered = self.render(messages, add_generation_prompt=True)
        return rendered.cut(len(rendered.text.rstrip(" ")))[0]

    def split(self, messages: Sequence[Message]) -> tuple[Rendered, Rendered]:
        """Prompt and target of a conversation that ends with the assistant's reply.

        Raises:
            ConfigError: the template does not write the reply after its own generation prompt.
        """
        if not messages or messages[-1]["role"] != "assistant":
            raise ConfigError("a training example must end with the assistant's message")
        prompt = self.prompt(messages[:-1])
        whole = self.render(messages)
        if not whole.text.startswith(prompt.text):
            raise ConfigError(f"prompt format {self.name}: the reply does not follow the generation prompt")
        return whole.cut(len(prompt.text))

    @cached_property
    def _compiled(self) -> Template:
        return self._environment.compile_template(self.chat_template)

    @cached_property
    def _environment(self) -> BoundedEnvironment:
        environment = BoundedEnvironment()
        environment.globals["raise_exception"] = raise_exception
        return environment

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        return (
            re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else re.compile(r"(?!)()")
        )

    def _disarm(self, text: str, mark: str) -> str:
        """Put `mark` after every character that opens a special token, so that none can stand in the text, nor
        begin in it and end in the template's text that follows."""
        for opener in {token[0] for token in self.special_tokens}:
            text = text.replace(opener, opener + mark)
        return text

    def _pieces(self, flat: str, mark: str) -> Rendered:
        pieces = []
        for index, part in enumerate(self._special_pattern.split(flat)):
            if part:
                special = index % 2 == 1
                pieces.append(Piece(part if special else part.replace(mark, ""), special))
        return Rendered(tuple(pieces))

    def _check_template(self, source: str) -> None:
        try:
            prompt, target = self.split([{"role": "user", "content": "⟨Q⟩"}, {"role": "assistant", "content": "⟨A⟩"}])
        except (TemplateError, ConfigError) as error:
            raise ConfigError(f"{source}: the template does not render a question and its reply: {error}") from error
        if "⟨Q⟩" not in prompt.text or "⟨A⟩" not in target.text:
            raise ConfigError(f"{source}: the template leaves out the question or the reply")


def check_roles(messages: Sequence[Message]) -> None:
    """Refuse a conversation that is not [system] user assistant user … with text contents."""
    turns = messages[1:] if messages and messages[0].get("role") == "system" else messages
    for index, message in enumerate(turns):
        if message.get("role") != ("user", "assistant")[index % 2]:
            raise ConfigError(
                f"message {index + 1} has role '{message.get('role')}'", hint="user and assistant take turns"
            )
    for message in messages:
        if not isinstance(message.get("content"), str):
            raise ConfigError("a message has no text content")


def encode(rendered: Rendered, tokenizer: Tokenizer) -> list[int]:
    """Token ids of rendered pieces: special pieces as their id, plain runs without special tokens."""
    ids: list[int] = []
    for piece in rendered.pieces:
        ids += [tokenizer.special(piece.text)] if piece.special else tokenizer.plain(piece.text)
    return ids


def encode_split(
    prompt_format: PromptFormat, messages: Sequence[Message], tokenizer: Tokenizer
) -> tuple[list[int], list[int]]:
    """(prompt ids, target ids) of a conversation that ends with the assistant's reply.

    The prompt ids are exactly those that serving evaluates. The target ids are what follows them when the whole is
    tokenized at once; where tokens would grow across the joint, the target is tokenized by itself, as generation
    would produce it.
    """
    prompt, target = prompt_format.split(messages)
    prompt_ids = encode(prompt, tokenizer)
    whole_ids = encode(prompt_format.render(messages), tokenizer)
    if whole_ids[: len(prompt_ids)] == prompt_ids:
        return prompt_ids, whole_ids[len(prompt_ids) :]
    return prompt_ids, encode(target, tokenizer)


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML, or say in one sentence where it is wrong."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not valid TOML: {error}") from error


def to_toml(table: dict[str, Any]) -> str:
    """A flat table of texts and lists of texts as TOML; JSON's escapes are TOML's, but for DEL."""
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n".replace("\x7f", "\\u007f") for key, value in table.items()
    )


def validation_sentence(error: ValidationError) -> str:
    """All faults of a validated table on one line, each with its key."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors())


def _absent_character(texts: Iterable[str]) -> str:
    """A private-use character that none of the texts holds."""
    present = set().union(*map(set, texts))
    for code in _PRIVATE_USE:
        if chr(code) not in present:
            return chr(code)
    raise ConfigError("the text holds every private-use character", hint="no real text does")
