"""The answers CSV: whether it stands already, and how it appears, whole and remembered by the journal."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import asdict, dataclass
from pathlib import Path

from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.sheets import Sheet
from runtime.journal import Journal
from runtime.output_file import OutputFile
from runtime.report import Columns, check_kaggle, csv_bytes
from runtime.results import Result
from runtime.rows import Questions, Summary, summarise


@dataclass(frozen=True, slots=True)
class AnswersFile:
    """Where the answers go and what they look like.

    `overwrite` allows to replace a CSV that was made from other inputs.
    """

    path: Path
    columns: Columns = "kaggle"
    fallback: str = ""
    overwrite: bool = False

    def check(self, sheet: Sheet, sheet_path: Path, labels: QuestionFormat) -> None:
        """Refuse what could not be written, before anything is computed.

        Raises:
            ConfigError: the path is a folder or the sheet, the fallback is no label, or Kaggle's CSV cannot hold an ID.
        """
        if self.path.is_dir():
            raise ConfigError(f"--output {self.path} is a folder", hint="give the CSV's path")
        if self.path.exists() and self.path.samefile(sheet_path):
            raise ConfigError(f"--output {self.path} is the sheet itself", hint="choose another path")
        if self.fallback and self.fallback not in labels.labels:
            raise ConfigError(
                f"--fallback {self.fallback} is no label of question format {labels.name}",
                hint=f"its labels are {', '.join(labels.labels)}",
            )
        if self.columns == "kaggle":
            check_kaggle(sheet.rows, labels)

    def refuse_stranger(self) -> None:
        """A CSV without a journal is somebody else's: say so before a journal is begun beside it."""
        self._file.refuse_stranger()

    def sha256(self) -> str:
        """Of the CSV that stands there; empty for none."""
        return self._file.sha256()

    def standing(self, journal: Journal[Result], inputs: str) -> Summary | None:
        """How the run ended that wrote the CSV which stands there, None if it has to be written.

        Raises:
            ConfigError: another CSV stands there and may not be replaced.
        """
        counts = self._file.standing(journal, inputs)
        if counts is None:
            return None
        answered = counts["rows"] - counts["unanswered"]
        errors = tuple((number, identity, reason) for number, identity, reason in counts["errors"])
        return Summary(**{**counts, "errors": errors, "computed": 0, "from_journal": answered, "already_made": True})

    def write(self, questions: Questions, journal: Journal[Result], known: Set[str], inputs: str) -> Summary:
        """Record the CSV in the journal, then let it appear: whoever is killed in between starts from the journal.

        Args:
            known: keys of the rows that the journal held before this run.
            inputs: fingerprint of all that the CSV depends on.
        """
        rows = questions.answered(journal.results)
        summary = summarise(questions, rows, known, self.fallback)
        data = csv_bytes(rows, self.columns, questions.labels, self.fallback)
        counts = {name: value for name, value in asdict(summary).items() if name != "already_made"}
        self._file.write(data, journal, inputs, counts, len(questions.failed))
        return summary

    @property
    def _file(self) -> OutputFile:
        return OutputFile(self.path, self.overwrite)
