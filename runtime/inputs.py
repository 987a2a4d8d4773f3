"""What an answers CSV depends on: the model and its formats, how rows are computed, the sheet and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.atomic import sha256_text
from configs.errors import ConfigError
from configs.formats import Formats
from configs.sheets import Sheet, read_questions
from runtime.answering import SCORING
from runtime.answers_file import AnswersFile
from runtime.arguments import COLUMNS_FLAG
from runtime.debias import ORDERS, Debias
from runtime.models import ModelPlan
from runtime.rows import fingerprint
from runtime.shards import WHOLE, Shard


@dataclass(frozen=True, slots=True)
class SheetFile:
    """A question sheet and how to read it."""

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    """Of a sheet that is text; empty finds it out."""

    def read(self) -> Sheet:
        """Every row of it; a row without a readable label is a question all the same.

        Raises:
            ConfigError: the file cannot be read, or its columns cannot be told.
        """
        return read_questions(
            self.path, columns=self.columns, need_answers=False, columns_flag=COLUMNS_FLAG, encoding=self.encoding
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """How rows are computed: the journal carries it, for whoever reads the journal without the model."""

    question_format: str
    """As TOML."""
    ctx_size: int = 0
    """Decides which rows are too long."""
    shard: Shard = WHOLE

    def table(self) -> dict[str, Any]:
        """As the journal's first line has it."""
        return {"question_format": self.question_format, "ctx_size": self.ctx_size, "shard": str(self.shard)}

    @classmethod
    def from_table(cls, table: Mapping[str, Any], source: str) -> Setup:
        """Read `table` back.

        Raises:
            ConfigError: it is not one.
        """
        try:
            return cls(str(table["question_format"]), int(table["ctx_size"]), Shard.parse(table["shard"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{source} does not say how its rows were computed: {error}") from error

    def whole(self) -> Setup:
        """The same for the whole sheet."""
        return replace(self, shard=WHOLE)


def scoring_identity(plan: ModelPlan, formats: Formats, debias: Debias) -> dict[str, Any]:
    """What label log-probabilities depend on: the rule, the orders, the formats, the model and its adapters."""
    scoring = SCORING if debias == "none" else f"{SCORING}; {ORDERS}"
    return {"debias": debias, "scoring": scoring, "formats": sha256_text(formats.to_toml()), **plan.identity()}


def fingerprint_of(
    identity: Mapping[str, Any], setup: Setup, sheet: Sheet, sheet_file: SheetFile, output: AnswersFile
) -> str:
    """Of all that the bytes of the CSV depend on."""
    reading = {"sheet": sheet.sha256, "sheet_columns": dict(sheet_file.columns), "encoding": sheet_file.encoding}
    return fingerprint({**identity, **setup.table(), **reading, "columns": output.columns, "fallback": output.fallback})
