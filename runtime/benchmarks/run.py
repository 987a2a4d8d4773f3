"""A benchmark as a run of `predict`: its folder becomes a sheet, and the answers to that become the usual files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done, sha256_bytes, sha256_file, staged_file, write_json
from configs.errors import ConfigError
from configs.exam import QuestionFormat
from runtime.benchmarks.folder import sheet_bytes
from runtime.benchmarks.results import submission, summary
from runtime.benchmarks.subjects import Name, benchmark
from runtime.evaluation.answers import read_answers
from runtime.evaluation.exam import grade, read_gold

SHEET, ANSWERS, SUBMISSION, SUMMARY = "questions.jsonl", "answers.csv", "submission.json", "summary.json"
QUESTION_FORMAT = "ceval"
"""Where the user names no other: what the model carries was made for another kind of question."""


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """Which benchmark, from where, and how many worked examples go before a question."""

    name: Name
    folder: Path
    output: Path
    """A folder: the sheet, the answers, their journal and the results."""
    shots: int = 5
    split: str = ""
    """Empty takes the one whose labels are public."""
    question_format: str = QUESTION_FORMAT
    overwrite: bool = False


def write_sheet(settings: BenchmarkSettings) -> tuple[Path, list[str]]:
    """Write the sheet that `predict` is to answer; returns its path and what to tell the user.

    Raises:
        ConfigError: the folder is not the benchmark's, or the output holds another run's sheet.
    """
    made = benchmark(settings.name)
    split = settings.split or made.splits[0]
    if split not in made.splits:
        raise ConfigError(f"{settings.name} has no split {split} to answer", hint=f"{' or '.join(made.splits)}")
    data, missing = sheet_bytes(
        made,
        settings.folder,
        split=split,
        shots=settings.shots,
        question_format=QuestionFormat.load(settings.question_format),
    )
    path = settings.output / SHEET
    if not path.exists():
        for name in (SUBMISSION, SUMMARY):  # without a sheet they are somebody else's
            output_is_done(settings.output / name, recorded=None, wanted="", overwrite=settings.overwrite)
    recorded = sha256_file(path) if path.is_file() else None
    if not output_is_done(path, recorded=recorded, wanted=sha256_bytes(data), overwrite=settings.overwrite):
        with staged_file(path) as partial:
            partial.write_bytes(data)
    note = f"{len(missing)} of {len(made.subjects)} subjects of {settings.name} are not in {settings.folder}"
    return path, [f"{note}: {', '.join(missing)}"] if missing else []


def write_results(settings: BenchmarkSettings) -> dict[str, Any] | None:
    """Write `submission.json`, and `summary.json` where the labels are public; returns the summary."""
    labels = QuestionFormat.load(settings.question_format).labels
    answers = read_answers(settings.output / ANSWERS)
    write_json(settings.output / SUBMISSION, submission(answers, labels))
    gold, column = read_gold(settings.output / SHEET)
    evaluation = grade(gold, answers, labels=labels, group_column=column)
    if not evaluation.graded:
        return None
    table = summary(evaluation, benchmark(settings.name))
    write_json(settings.output / SUMMARY, table)
    return table
