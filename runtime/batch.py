"""A batch run: sheet -> scores -> journal -> CSV. It yields progress, resumes by itself and never loses a row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from configs.atomic import output_is_done, sha256_file, staged_file
from configs.errors import ConfigError
from configs.exam import Question, QuestionFormat
from configs.formats import Formats
from configs.progress import Progress
from configs.sheets import Sheet, SheetRow, read_questions
from runtime.answering import SCORING, Asker, weigh
from runtime.engine import load_engine
from runtime.interface import Engine, ModelOptions, ScoreRequest
from runtime.journal import Journal, Result, journal_path
from runtime.metrics import Accuracy
from runtime.models import ModelPlan, plan_model, question_format
from runtime.report import AnsweredRow, Columns, check_kaggle, csv_bytes

Loader = Callable[[ModelOptions], Engine]


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """What to answer, with what, and where to."""

    sheet: Path
    output: Path
    model: ModelOptions
    columns: Columns = "kaggle"
    fallback: str = ""
    """Label for rows without an answer; empty leaves them empty."""
    restart: bool = False
    overwrite: bool = False
    sheet_columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended. `rows` = `computed` + `from_journal` + `unanswered`."""

    rows: int
    computed: int
    from_journal: int
    unanswered: int
    correct: int
    labelled: int
    warnings: int
    """Rows that were answered with a warning."""
    errors: tuple[tuple[int, str, str], ...]
    """(row number, ID, reason) of every row without an answer."""
    median_label_mass: float
    """1 where nothing was answered."""
    already_made: bool = False

    @property
    def accuracy(self) -> Accuracy:
        """Of what stands in the CSV, the fallback label included."""
        return Accuracy(self.correct, self.labelled)


class PredictRun:
    """One run of `predict`: iterate it for progress, then read `summary`.

    Args:
        load: makes the engine; called only if a row is left to compute.

    Raises:
        ConfigError: while iterating: a wrong file or flag, an output or journal that is in the way.
        ToolError: while iterating: another run holds the journal, or the engine failed.
    """

    def __init__(self, settings: PredictSettings, load: Loader = load_engine) -> None:
        self.settings = settings
        self.notes: list[str] = []
        """Sentences a person should read; grows while the run goes on."""
        self.summary: Summary | None = None
        self._load = load

    def __iter__(self) -> Iterator[Progress]:
        settings = self.settings
        plan = plan_model(settings.model)
        labels, note = question_format(plan.formats, settings.model)
        self.notes += [*plan.notes, *([note] if note else [])]
        sheet = self._read_sheet()
        self._check(sheet, labels)
        identity = _identity(plan, labels)
        inputs = _fingerprint({**identity, "sheet": sheet.sha256, **self._flags()})
        self._refuse_strange_output(identity)
        with Journal(journal_path(settings.output), identity, restart=settings.restart) as journal:
            if self._is_done(journal, inputs):
                return
            journal.begin_run(inputs, _hash_of(settings.output))
            questions = _Questions(sheet, labels, identity)
            known = questions.keys() & journal.results.keys()
            yield from self._compute(questions, journal, plan.formats, labels)
            self._write(questions, journal, labels, known, inputs)

    def _read_sheet(self) -> Sheet:
        try:
            return read_questions(self.settings.sheet, columns=self.settings.sheet_columns, need_answers=False)
        except ConfigError as error:  # the reader speaks of its flag as the trainer has it
            raise ConfigError(error.message, error.hint.replace("--columns", "--sheet-columns")) from error

    def _check(self, sheet: Sheet, labels: QuestionFormat) -> None:
        settings = self.settings
        if settings.output.is_dir():
            raise ConfigError(f"--output {settings.output} is a folder", hint="give the CSV's path")
        if settings.output.exists() and settings.output.samefile(settings.sheet):
            raise ConfigError(f"--output {settings.output} is the sheet itself", hint="choose another path")
        if settings.fallback and settings.fallback not in labels.labels:
            raise ConfigError(
                f"--fallback {settings.fallback} is no label of question format {labels.name}",
                hint=f"its labels are {', '.join(labels.labels)}",
            )
        if settings.columns == "kaggle":
            check_kaggle(sheet.rows, labels)

    def _flags(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "columns": settings.columns,
            "fallback": settings.fallback,
            "sheet_columns": dict(settings.sheet_columns),
        }

    def _refuse_strange_output(self, identity: dict[str, Any]) -> None:
        """A CSV without a journal is somebody else's: say so before a journal is begun beside it."""
        settings = self.settings
        if not journal_path(settings.output).exists() and not settings.restart:
            output_is_done(settings.output, recorded=None, wanted="", overwrite=settings.overwrite)

    def _is_done(self, journal: Journal, inputs: str) -> bool:
        """Whether the CSV stands already; refuses one that may not be replaced."""
        settings, made = self.settings, journal.last_output
        standing = _hash_of(settings.output)
        recorded = made.get("inputs") if made.get("sha256") == standing else None
        # A run that was allowed to replace this very CSV, and was killed, leaves its permission to the next.
        resumed = journal.last_run == {"inputs": inputs, "replaces": standing}
        overwrite = settings.overwrite or settings.restart or resumed
        if not output_is_done(settings.output, recorded=recorded, wanted=inputs, overwrite=overwrite):
            return False
        counts = made["summary"]
        answered = counts["rows"] - counts["unanswered"]
        errors = tuple((number, identity, reason) for number, identity, reason in counts["errors"])
        self.summary = Summary(
            **{**counts, "errors": errors, "computed": 0, "from_journal": answered, "already_made": True}
        )
        return True

    def _compute(
        self, questions: _Questions, journal: Journal, formats: Formats, labels: QuestionFormat
    ) -> Iterator[Progress]:
        """Score every question that the journal lacks, in the order of the sheet."""
        missing = {key: question for key, question in questions.unique.items() if key not in journal.results}
        if not missing:
            return
        engine = self._load(self.settings.model)
        try:
            self.notes += [note for note in engine.notes if note not in self.notes]
            requests = _requests(missing, Asker(formats, labels, engine.tokenizer), engine, questions)
            if requests:
                engine.reserve(max(map(_length, requests.values())))
            done = len(questions.unique) - len(missing)
            yield Progress(done, done + len(requests), "questions")
            for number, (key, request) in enumerate(requests.items(), done + 1):
                journal.add(key, Result(tuple(engine.score(request)), len(request.prompt)))
                yield Progress(number, done + len(requests), "questions")
        finally:
            engine.close()

    def _write(
        self, questions: _Questions, journal: Journal, labels: QuestionFormat, known: set[str], inputs: str
    ) -> None:
        """Record the CSV in the journal, then let it appear: whoever is killed in between starts from the journal."""
        settings = self.settings
        rows = questions.answered(journal)
        self.summary = _summary(questions, rows, known, labels, settings.fallback)
        data = csv_bytes(rows, settings.columns, labels, settings.fallback)
        with staged_file(settings.output) as partial:
            partial.write_bytes(data)
            counts = {name: value for name, value in asdict(self.summary).items() if name != "already_made"}
            journal.end_run({"inputs": inputs, "sha256": hashlib.sha256(data).hexdigest(), "summary": counts})


class _Questions:
    """The sheet's rows by content: rows with equal content share a key and are computed once."""

    def __init__(self, sheet: Sheet, labels: QuestionFormat, identity: dict[str, Any]) -> None:
        self.rows = sheet.rows
        self.errors: dict[str, str] = {}
        """Key -> why this question cannot be asked."""
        self.unique: dict[str, Question] = {}
        self._labels = labels
        self._salt = _fingerprint(identity)
        self._keys = [self._key(row.question) if row.question else "" for row in sheet.rows]
        for row, key in zip(sheet.rows, self._keys, strict=True):
            if row.question and len(row.question.choices) > len(labels.labels):
                self.errors[key] = f"{len(row.question.choices)} options, but only {len(labels.labels)} labels"
            elif row.question:
                self.unique.setdefault(key, row.question)

    def keys(self) -> set[str]:
        return set(self.unique)

    def keyed_rows(self) -> Iterator[tuple[SheetRow, str]]:
        """Every row with its key, in the order of the sheet."""
        return zip(self.rows, self._keys, strict=True)

    def answered(self, journal: Journal) -> list[AnsweredRow]:
        """Every row with what the journal says about it."""
        return [self._answered(row, key, journal.results.get(key)) for row, key in self.keyed_rows()]

    def _answered(self, row: SheetRow, key: str, result: Result | None) -> AnsweredRow:
        if row.question is None:
            return AnsweredRow(row, None, row.error)
        if result is None or key in self.errors:
            return AnsweredRow(row, None, self.errors.get(key, "not computed"))
        return AnsweredRow(row, weigh(row.question, result.log_probabilities))

    def _key(self, question: Question) -> str:
        return _fingerprint([question.passage, question.question, list(question.choices), self._salt])


def _requests(
    missing: Mapping[str, Question], asker: Asker, engine: Engine, questions: _Questions
) -> dict[str, ScoreRequest]:
    """A request for every question that fits the context; the others become errors."""
    requests = {}
    for key, question in missing.items():
        request = asker.request(question)
        if _length(request) > engine.context_limit:
            questions.errors[key] = f"{_length(request)} tokens, longer than the context of {engine.context_limit}"
        else:
            requests[key] = request
    return requests


def _length(request: ScoreRequest) -> int:
    return len(request.prompt) + max(map(len, request.continuations))


def _summary(
    questions: _Questions, rows: list[AnsweredRow], known: set[str], labels: QuestionFormat, fallback: str
) -> Summary:
    answered = [(row, key) for row, (_, key) in zip(rows, questions.keyed_rows(), strict=True) if row.answer]
    from_journal = sum(key in known for _, key in answered)
    standing = labels.labels.index(fallback) + 1 if fallback else None
    graded = [
        (row.row.question.answer, row.answer.place if row.answer else standing)
        for row in rows
        if row.row.question and row.row.question.answer
    ]
    return Summary(
        rows=len(rows),
        computed=len(answered) - from_journal,
        from_journal=from_journal,
        unanswered=len(rows) - len(answered),
        correct=sum(gold == place for gold, place in graded),
        labelled=len(graded),
        warnings=sum(bool(row.warnings) for row, _ in answered),
        errors=tuple((row.row.number, row.row.id, row.error) for row in rows if not row.answer),
        median_label_mass=median([row.answer.label_mass for row, _ in answered if row.answer] or [1.0]),
    )


def _identity(plan: ModelPlan, labels: QuestionFormat) -> dict[str, Any]:
    formats = Formats(plan.formats.prompt, labels).to_toml()
    return {"scoring": SCORING, "formats": hashlib.sha256(formats.encode()).hexdigest(), **plan.identity()}


def _fingerprint(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _hash_of(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""
