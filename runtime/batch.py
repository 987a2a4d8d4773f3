"""A batch run: sheet -> scores -> journal -> CSV. It yields progress, resumes by itself and never loses a row."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.exam import Question, QuestionFormat
from configs.formats import Formats
from configs.progress import Progress
from configs.sheets import Sheet
from runtime.answering import Asker, weigh
from runtime.answers_file import AnswersFile
from runtime.buckets import Bucket, bucket_count, in_buckets
from runtime.debias import Debias, RowDebias, orders, plan_orders
from runtime.engine import load_engine
from runtime.inputs import Setup, SheetFile, fingerprint_of, scoring_identity
from runtime.interface import Engine, ModelOptions
from runtime.journal import Journal, journal_path, peek
from runtime.models import ModelPlan, plan_model, question_format
from runtime.report import AnsweredRow, Columns
from runtime.results import SCORES, Result
from runtime.rows import Questions, Summary
from runtime.scoring import EngineScorer, Scorer
from runtime.shards import WHOLE, Shard
from runtime.worker import Job

Loader = Callable[[ModelOptions], Engine]


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """What to answer, with what, and where to."""

    sheet: Path
    output: Path
    model: ModelOptions
    columns: Columns = "kaggle"
    debias: Debias = "none"
    fallback: str = ""
    """Label for rows without an answer; empty leaves them empty."""
    restart: bool = False
    overwrite: bool = False
    sheet_columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    """Of a sheet that is text; empty finds it out."""
    shard: Shard = WHOLE
    """The part of the sheet to answer; its output and journal have names of their own (`Shard.path`)."""
    scheduler: str = ""
    """Address of a Dask scheduler whose workers compute; empty computes here. The bytes are the same."""

    @property
    def answers(self) -> AnswersFile:
        """The CSV of this run."""
        path = self.shard.path(self.output)
        return AnswersFile(path, self.columns, self.fallback, overwrite=self.overwrite or self.restart)

    @property
    def sheet_file(self) -> SheetFile:
        """The sheet of this run."""
        return SheetFile(self.sheet, self.sheet_columns, self.encoding)


@dataclass(frozen=True, slots=True)
class Scored(Progress):
    """One more question was computed."""

    key: str = ""


@dataclass(frozen=True, slots=True)
class Paper:
    """All that is known of a run before the model is loaded or the journal locked."""

    sheet: Sheet
    labels: QuestionFormat
    formats: Formats
    identity: dict[str, Any]
    """What every score depends on."""
    inputs: str
    """Fingerprint of all that the CSV depends on."""
    debias: Mapping[str, RowDebias]
    buckets: int
    questions: Questions
    """The rows to answer: the whole sheet, or the shard's part of it."""


class PredictRun:
    """One run of `predict`: iterate it for progress, then read `summary`.

    Whoever leaves the iteration early closes it (`close()` of the generator): journal and model are let go, and the
    next run goes on from there.

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
        self.results: Mapping[str, Result] = {}
        """Key -> what the journal holds; grows while the run goes on."""
        self.refused: Mapping[str, str] = {}
        """Key -> why a question could not be computed; grows likewise."""
        self.on_measure: Callable[[float], bool] = lambda share: True
        """Called with 0..1 while questions are measured, which takes seconds for a long sheet; False gives up."""
        self._load = load
        self._plan: tuple[ModelPlan, QuestionFormat] | None = None
        self._paper: Paper | None = None

    def check_model(self) -> tuple[ModelPlan, QuestionFormat]:
        """Check the model's files and choose the formats. Only the first call does it.

        Raises:
            ConfigError: as `plan_model` and `question_format`.
        """
        if self._plan is None:
            plan = plan_model(self.settings.model)
            labels, note = question_format(plan.formats, self.settings.model)
            self.notes += [*plan.notes, *([note] if note else [])]
            self._plan = plan, labels
        return self._plan

    def prepare(self) -> Paper:
        """Check the files and read the sheet: what can be shown before the run begins. Only the first call does it.

        Raises:
            ConfigError: a wrong file or flag, or an output that is in the way.
        """
        if self._paper is None:
            self._paper = self._prepare()
        return self._paper

    def peek(self) -> None:
        """Take into `results` what the run would find in the journal; nothing is locked or changed.

        Raises:
            ConfigError: the journal is another model's, or not a journal.
        """
        paper = self.prepare()
        if not self.settings.restart:
            results = peek(journal_path(self.settings.answers.path), paper.identity, SCORES)
            _forget_other_orders(results, paper.questions.unique, paper.debias)
            self.results = results

    def rows(self) -> list[AnsweredRow]:
        """Every row with what is known by now; one that is still to be computed has neither answer nor error."""
        questions = self.prepare().questions
        if self.summary:
            return questions.answered(self.results)
        return [
            questions.answered_row(place, self.results.get(key), self.refused.get(key, ""))
            for place, (_, key) in enumerate(questions.keyed_rows())
        ]

    def rows_of(self, key: str) -> dict[int, AnsweredRow]:
        """The rows that ask one question, by their place, counted from 0, with what is known by now.

        What `pride` takes off the answers of other rows is known at the end.
        """
        questions, result, reason = self.prepare().questions, self.results.get(key), self.refused.get(key, "")
        return {place: questions.answered_row(place, result, reason) for place in questions.places[key]}

    def __iter__(self) -> Generator[Progress, None, None]:
        settings, paper = self.settings, self.prepare()
        output = settings.answers
        path = journal_path(output.path)
        setup = self._setup(paper.labels).table()
        with Journal(path, paper.identity, SCORES, setup=setup, restart=settings.restart) as journal:
            self.results = journal.results
            self.summary = output.standing(journal, paper.inputs)
            if self.summary:
                return
            journal.begin_run(paper.inputs, output.sha256())
            questions = paper.questions
            _forget_other_orders(journal.results, questions.unique, paper.debias)
            known = questions.keys() & journal.results.keys()
            yield from self._compute(paper, journal)
            self.summary = output.write(questions, journal, known, paper.inputs)

    def _prepare(self) -> Paper:
        settings = self.settings
        plan, labels = self.check_model()
        sheet = settings.sheet_file.read()
        self.notes += sheet.notes
        output = settings.answers
        output.check(sheet, settings.sheet, labels)
        output.refuse_stranger()
        formats = Formats(plan.formats.prompt, labels)
        identity = scoring_identity(plan, formats, settings.debias)
        inputs = fingerprint_of(identity, self._setup(labels), sheet, settings.sheet_file, output)
        whole = Questions(sheet.rows, labels, identity)
        debias = plan_orders(whole.unique, settings.debias)
        buckets = bucket_count(len(whole.unique))
        part = settings.shard.rows(sheet.rows, buckets)
        questions = whole if settings.shard == WHOLE else Questions(part, labels, identity)
        return Paper(sheet, labels, formats, identity, inputs, debias, buckets, questions)

    def _setup(self, labels: QuestionFormat) -> Setup:
        return Setup(labels.to_toml(), self.settings.model.ctx_size, self.settings.shard)

    def _compute(self, paper: Paper, journal: Journal[Result]) -> Iterator[Progress]:
        """Score every question that the journal lacks, those of one passage after each other."""
        questions = paper.questions
        if questions.keys() <= journal.results.keys():
            return
        buckets: list[Bucket] = in_buckets(questions.unique, paper.buckets)
        job = Job(self.settings.model, paper.formats.to_toml(), self.settings.debias, paper.identity)
        with self._scorer(job, paper.debias) as scorer:
            self.refused = ChainMap(scorer.too_long, scorer.failed)
            tally = _Tally()
            done = len(questions.keys() & journal.results.keys())
            started = time.monotonic()
            yield Progress(done, len(questions.unique), "questions")
            for key, result in scorer.score(buckets, journal.results):
                journal.add(key, result)
                tally.count(questions.unique[key], result)
                done += 1
                self.seconds = time.monotonic() - started
                total = len(questions.unique) - len(scorer.too_long)
                yield Scored(done, total, "questions", tally.note, key)
        # What an earlier run with a larger context had computed stays an answer.
        questions.errors |= {key: why for key, why in scorer.too_long.items() if key not in journal.results}
        questions.failed |= scorer.failed
        for key, reason in {**questions.errors, **scorer.failed}.items():
            journal.refuse(key, reason)

    @contextmanager
    def _scorer(self, job: Job, debias: Mapping[str, RowDebias]) -> Iterator[Scorer]:
        """The engine, or the cluster, for as long as the block lasts."""
        if self.settings.scheduler:
            from runtime.cluster import ClusterScorer

            cluster = ClusterScorer(self.settings.scheduler, job, debias)
            try:
                yield cluster
            finally:
                cluster.close()
            return
        engine = self._load(job.model)
        try:
            self.notes += [note for note in engine.notes if note not in self.notes]
            formats = Formats.from_toml(job.formats)
            assert formats.question is not None
            asker = Asker(formats, formats.question, engine.tokenizer)
            yield EngineScorer(engine, asker, debias, self.on_measure)
        finally:
            engine.close()


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


def _forget_other_orders(
    results: dict[str, Result], questions: Mapping[str, Question], debias: Mapping[str, RowDebias]
) -> None:
    """Another sheet had another sample: what it asked once, this one may have to ask in several orders."""
    for key in results.keys() & questions.keys():
        if len(results[key].scores) != len(orders(questions[key], debias[key])):
            del results[key]
