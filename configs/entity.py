"""Named entities as an instruction: the wording of the question, and how the entities are written as its reply."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from jinja2 import StrictUndefined, Template, TemplateError
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from configs import files
from configs.errors import ConfigError
from configs.prompt import Message, parse_toml, validation_sentence
from configs.sandbox import BoundedEnvironment


class EntityFormat(BaseModel):
    """How a text and its entities become a question and its reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    template: str
    """Jinja template of the question over `text`."""
    entity: str
    """Jinja template of one entity in the reply over `entity` and `type`."""
    separator: str
    """Between two entities of a reply."""
    none: str
    """The reply for a text without entities."""
    types: dict[str, str]
    """Word of the reply for each entity type of the data; a type that is not here is unknown."""

    @field_validator("types")
    @classmethod
    def _printable(cls, types: dict[str, str]) -> dict[str, str]:
        if not types or not all(word and word.isprintable() for word in types.values()):
            raise ValueError("at least one type is needed, and a printable word for each")
        return types

    @classmethod
    def load(cls, name_or_path: str) -> EntityFormat:
        """The shipped format of that name, or the user's file.

        Raises:
            ConfigError: not TOML, unknown or missing keys, or a template that leaves out its part.
        """
        path = files.find("entities", name_or_path)
        try:
            entity_format = cls.model_validate(parse_toml(files.read_text(path), str(path)))
            shown = entity_format.question("⟨text⟩"), entity_format.written("⟨entity⟩", "⟨type⟩")
        except ValidationError as error:
            raise ConfigError(f"{path}: {validation_sentence(error)}") from error
        except TemplateError as error:
            raise ConfigError(f"{path}: a template does not render: {error}") from error
        for part in ("⟨text⟩", "⟨entity⟩", "⟨type⟩"):
            if part not in "".join(shown):
                raise ConfigError(f"{path}: the templates leave out {part.strip('⟨⟩')}")
        return entity_format

    def question(self, text: str) -> str:
        """The user's message about a text; TemplateError where the text is too long to write."""
        return self._environment.fill(self._asked, text=text)

    def reply(self, entities: Iterable[tuple[str, str]]) -> str:
        """The reply that names the (entity, type) pairs, each once, in order.

        Raises:
            ValueError: a type that the format does not know.
        """
        named: dict[str, None] = {}
        for entity, kind in entities:
            if kind not in self.types:
                raise ValueError(
                    f"unknown entity type '{kind}'; question format {self.name} has {', '.join(self.types)}"
                )
            named[self.written(entity, self.types[kind])] = None
        return self.separator.join(named) or self.none

    def messages(self, text: str, entities: Iterable[tuple[str, str]]) -> list[Message]:
        """Question and reply."""
        return [
            {"role": "user", "content": self.question(text)},
            {"role": "assistant", "content": self.reply(entities)},
        ]

    def written(self, entity: str, kind: str) -> str:
        """One entity of a reply; `kind` is the reply's word for its type."""
        return self._environment.fill(self._written, entity=entity, type=kind)

    @cached_property
    def _asked(self) -> Template:
        return self._environment.compile_template(self.template)

    @cached_property
    def _written(self) -> Template:
        return self._environment.compile_template(self.entity)

    @cached_property
    def _environment(self) -> BoundedEnvironment:
        return BoundedEnvironment(keep_trailing_newline=True, undefined=StrictUndefined)
