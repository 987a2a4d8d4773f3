"""A batch run: sheet -> scores -> journal -> CSV. It yields progress, resumes by itself and never loses a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from configs.exam import Question
from configs.formats import Formats
from configs.progress import Progress
from runtime.answering import Asker, weigh
from runtime.answers_file import AnswersFile
from runtime.buckets import Bucket, bucket_count, in_buckets
from runtime.debias import Debias, RowDebias, orders, plan_orders
from runtime.engine import load_engine
from runtime.inputs import Setup, SheetFile, fingerprint_of, scoring_identity
from runtime.interface import Engine, ModelOptions
from runtime.journal import Journal, journal_path
from runtime.models import plan_model, question_format
from runtime.report import Columns
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
        sheet = settings.sheet_file.read()
        self.notes += sheet.notes
        output = settings.answers
        output.check(sheet, settings.sheet, labels)
        output.refuse_stranger()
        formats = Formats(plan.formats.prompt, labels)
        identity = scoring_identity(plan, formats, settings.debias)
        setup = Setup(labels.to_toml(), settings.model.ctx_size, settings.shard)
        inputs = fingerprint_of(identity, setup, sheet, settings.sheet_file, output)
        path = journal_path(output.path)
        with Journal(path, identity, SCORES, setup=setup.table(), restart=settings.restart) as journal:
            self.summary = output.standing(journal, inputs)
            if self.summary:
                return
            journal.begin_run(inputs, output.sha256())
            whole = Questions(sheet.rows, labels, identity).unique
            debias = plan_orders(whole, settings.debias)
            _forget_other_orders(journal.results, whole, debias)
            buckets = bucket_count(len(whole))
            questions = Questions(settings.shard.rows(sheet.rows, buckets), labels, identity)
            known = questions.keys() & journal.results.keys()
            job = Job(settings.model, formats.to_toml(), settings.debias, identity)
            yield from self._compute(questions, in_buckets(questions.unique, buckets), debias, journal, job)
            self.summary = output.write(questions, journal, known, inputs)

    def _compute(
        self,
        questions: Questions,
        buckets: list[Bucket],
        debias: Mapping[str, RowDebias],
        journal: Journal[Result],
        job: Job,
    ) -> Iterator[Progress]:
        """Score every question that the journal lacks, those of one passage after each other."""
        if questions.keys() <= journal.results.keys():
            return
        with self._scorer(job, debias) as scorer:
            tally = _Tally()
            done = len(questions.keys() & journal.results.keys())
            started = time.monotonic()
            yield Progress(done, len(questions.unique), "questions")
            for key, result in scorer.score(buckets, journal.results):
                journal.add(key, result)
                tally.count(questions.unique[key], result)
                done += 1
                self.seconds = time.monotonic() - started
                yield Progress(done, len(questions.unique) - len(scorer.too_long), "questions", tally.note)
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
            yield EngineScorer(engine, Asker(formats, formats.question, engine.tokenizer), debias)
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
