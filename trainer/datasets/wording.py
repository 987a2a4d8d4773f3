"""The formats that a dataset's rows are written in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from configs.entity import EntityFormat
from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.formats import Formats
from configs.prompt import PromptFormat
from trainer.datasets.kinds import EXAM

_DEFAULT_FORMATS = {EXAM: "formosa", "entities": "msra"}


@dataclass(frozen=True, slots=True)
class Wording:
    """The formats that the rows are written in."""

    formats: Formats
    """These travel with the dataset."""
    entities: EntityFormat | None

    @classmethod
    def of(cls, kinds: Collection[str], prompt_format: str, question_format: str, convert: str) -> Wording:
        """The formats that sources of these kinds need.

        Args:
            question_format: of exam questions, or the wording for entities; empty takes the kind's own.
            convert: OpenCC conversion of exam questions; empty for none.

        Raises:
            ConfigError: a format that does not exist or that no source, or more than one kind of source, would take.
        """
        asking = [kind for kind in _DEFAULT_FORMATS if kind in kinds]
        if question_format and len(asking) != 1:
            raise ConfigError(
                f"--question-format {question_format}: "
                + ("exam questions and entities would both take it" if asking else "no source is asked in one"),
                hint="prepare them apart" if asking else "leave it out",
            )
        if convert and EXAM not in kinds:
            raise ConfigError("--convert is for exam questions, and there are none", hint="leave it out")
        names = {kind: question_format or _DEFAULT_FORMATS[kind] for kind in asking}
        question = QuestionFormat.load(names[EXAM]) if EXAM in names else None
        if question and convert:
            question = question.with_convert(convert)
        entities = EntityFormat.load(names["entities"]) if "entities" in names else None
        return cls(Formats(PromptFormat.load(prompt_format), question), entities)

    def fingerprint(self) -> list[str]:
        """Texts that tell these formats from others."""
        return [self.formats.to_toml(), self.entities.model_dump_json() if self.entities else ""]
