"""A batch run: sheet -> scores -> journal -> CSV. It yields progress, resumes by itself and never loses a row."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done, sha256_file, staged_file
from configs.errors import ConfigError
from configs.exam import Question, QuestionFormat
from configs.formats import Formats
from configs.progress import Progress
from configs.sheets import Sheet, read_questions
from runtime.answering import SCORING, Asker, weigh
from runtime.arguments import COLUMNS_FLAG
from runtime.engine import load_engine
from runtime.interface import Engine, ModelOptions, ScoreRequest
from runtime.journal import Journal, Result, journal_path
from runtime.models import ModelPlan, plan_model, question_format
from runtime.report import Columns, check_kaggle, csv_bytes
from runtime.rows import Questions, Summary, fingerprint, summarise

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
    encoding: str = ""
    """Of a sheet that is text; empty finds it out."""


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
        self.seconds = 0.0
        """Spent scoring: the model was loaded before, the CSV written after."""
        self._load = load

    def __iter__(self) -> Iterator[Progress]:
        settings = self.settings
        plan = plan_model(settings.model)
        labels, note = question_format(plan.formats, settings.model)
        self.notes += [*plan.notes, *([note] if note else [])]
        sheet = read_questions(
            settings.sheet,
            columns=settings.sheet_columns,
            need_answers=False,
            columns_flag=COLUMNS_FLAG,
            encoding=settings.encoding,
        )
        self.notes += sheet.notes
        self._check(sheet, labels)
        identity = _identity(plan, labels)
        inputs = fingerprint({**identity, "sheet": sheet.sha256, **self._flags()})
        self._refuse_strange_output(identity)
        with Journal(journal_path(settings.output), identity, restart=settings.restart) as journal:
            if self._is_done(journal, inputs):
                return
            journal.begin_run(inputs, _hash_of(settings.output))
            questions = Questions(sheet, labels, identity)
            known = questions.keys() & journal.results.keys()
            yield from self._compute(questions, journal, plan.formats, labels)
            self._write(questions, journal, labels, known, inputs)

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
            "encoding": settings.encoding,
            "ctx_size": settings.model.ctx_size,  # decides which rows are too long
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
        self, questions: Questions, journal: Journal, formats: Formats, labels: QuestionFormat
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
                engine.reserve(max(request.length for asked in requests.values() for request in asked))
            done = len(questions.unique) - len(missing)
            total = done + len(requests)
            yield Progress(done, total, "questions")
            tally = _Tally()
            started = time.monotonic()
            for number, (key, asked) in enumerate(requests.items(), done + 1):
                result = Result(tuple(map(tuple, engine.score(asked))), len(asked[0].prompt))
                journal.add(key, result)
                tally.count(missing[key], result)
                self.seconds = time.monotonic() - started
                yield Progress(number, total, "questions", tally.note)
        finally:
            engine.close()

    def _write(
        self, questions: Questions, journal: Journal, labels: QuestionFormat, known: set[str], inputs: str
    ) -> None:
        """Record the CSV in the journal, then let it appear: whoever is killed in between starts from the journal."""
        settings = self.settings
        rows = questions.answered(journal)
        self.summary = summarise(questions, rows, known, labels, settings.fallback)
        data = csv_bytes(rows, settings.columns, labels, settings.fallback)
        with staged_file(settings.output) as partial:
            partial.write_bytes(data)
            counts = {name: value for name, value in asdict(self.summary).items() if name != "already_made"}
            journal.end_run({"inputs": inputs, "sha256": hashlib.sha256(data).hexdigest(), "summary": counts})


class _Tally:
    """Accuracy of this run so far, for whoever watches."""

    def __init__(self) -> None:
        self._correct = self._total = 0

    def count(self, question: Question, result: Result) -> None:
        if question.answer is not None:
            self._total += 1
            self._correct += weigh(question, result.scores).place == question.answer

    @property
    def note(self) -> str:
        return f"accuracy {self._correct / self._total:.1%}" if self._total else ""


def _requests(
    missing: Mapping[str, Question], asker: Asker, engine: Engine, questions: Questions
) -> dict[str, tuple[ScoreRequest, ...]]:
    """Requests for every question that fits the context; the others become errors."""
    requests = {}
    for key, question in missing.items():
        asked = asker.requests(question)
        length = max(request.length for request in asked)
        if length > engine.context_limit:
            questions.errors[key] = f"{length} tokens, longer than the context of {engine.context_limit}"
        else:
            requests[key] = asked
    return requests


def _identity(plan: ModelPlan, labels: QuestionFormat) -> dict[str, Any]:
    formats = Formats(plan.formats.prompt, labels).to_toml()
    return {"scoring": SCORING, "formats": hashlib.sha256(formats.encode()).hexdigest(), **plan.identity()}


def _hash_of(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""
