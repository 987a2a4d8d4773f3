"""What a Dask worker runs: one model kept loaded, one bucket of questions at a time."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.errors import ToolError
from configs.formats import Formats
from runtime.answering import Asker
from runtime.buckets import Bucket
from runtime.debias import Debias, RowDebias
from runtime.engine import load_engine
from runtime.inputs import scoring_identity
from runtime.interface import Engine, ModelOptions
from runtime.models import plan_model
from runtime.results import Result
from runtime.scoring import EngineScorer


@dataclass(frozen=True)
class Job:
    """What every bucket of a run is computed with."""

    model: ModelOptions
    formats: str
    """Prompt and question format, as TOML."""
    debias: Debias
    identity: dict[str, Any]
    """What the journal says the results depend on; a worker whose files differ refuses."""


@dataclass
class Outcome:
    """What became of a bucket."""

    results: dict[str, Result] = field(default_factory=dict)
    too_long: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    lacks: str = ""
    """Why this worker can compute nothing; empty where it can."""


class _Seat:
    """The one model that this worker holds. Another run with the same job finds it loaded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._job: Job | None = None
        self._engine: Engine | None = None
        self._scorer: EngineScorer | None = None

    def scorer(self, job: Job, debias: Mapping[str, RowDebias]) -> EngineScorer:
        """One for a bucket.

        Raises:
            ToolError: this machine lacks something, or its files are others.
        """
        if self._scorer is None or self._job != job:
            self.leave()
            with _formats_here(job) as options:
                if reason := _difference(job, options):
                    raise ToolError(reason)
                self._engine = load_engine(options)
            formats = Formats.from_toml(job.formats)
            assert formats.question is not None
            self._scorer = EngineScorer(self._engine, Asker(formats, formats.question, self._engine.tokenizer), debias)
            self._job = job
        self._scorer = self._scorer.again(debias)
        return self._scorer

    def leave(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = self._scorer = self._job = None


_seat = _Seat()


def lack(job: Job) -> str:
    """What this machine lacks to do the job, as a sentence; empty for nothing."""
    try:
        with _formats_here(job) as options:
            return _difference(job, options)
    except ToolError as error:
        return str(error)


def score_bucket(job: Job, bucket: Bucket, debias: Mapping[str, RowDebias], done: Collection[str]) -> Outcome:
    """Compute what is not done of a bucket; a failure is part of the outcome, since our exceptions need not travel."""
    with _seat.lock:
        try:
            scorer = _seat.scorer(job, debias)
            results = dict(scorer.score([bucket], done))
        except ToolError as error:
            _seat.leave()
            return Outcome(lacks=str(error))
        return Outcome(results, scorer.too_long, scorer.failed)


def _difference(job: Job, options: ModelOptions) -> str:
    """In what the files of this machine are not those of the job."""
    found = scoring_identity(plan_model(options), Formats.from_toml(job.formats), job.debias)
    if found == job.identity:
        return ""
    differs = " and ".join(name for name in job.identity if found.get(name) != job.identity[name])
    return f"{job.model.model} is not the same there: another {differs}"


@contextmanager
def _formats_here(job: Job) -> Iterator[ModelOptions]:
    """The options with the job's formats as files of this machine: those named may be files of another."""
    formats = Formats.from_toml(job.formats)
    assert formats.question is not None
    with tempfile.TemporaryDirectory() as folder:
        prompt, question = Path(folder, "prompt.toml"), Path(folder, "question.toml")
        prompt.write_text(formats.prompt.to_toml(), encoding="utf-8")
        question.write_text(formats.question.to_toml(), encoding="utf-8")
        yield replace(job.model, prompt_format=str(prompt), question_format=str(question))
