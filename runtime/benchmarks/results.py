"""Answers to a benchmark -> `submission.json` and `summary.json`, as the evaluation scripts of C-Eval write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from configs.accuracy import Accuracy
from runtime.benchmarks.subjects import Benchmark
from runtime.evaluation.answers import Answers
from runtime.evaluation.exam import Evaluation, accuracy_of

_LETTERS = "ABCD"


def submission(answers: Answers, labels: Sequence[str]) -> dict[str, dict[str, str]]:
    """Subject -> row -> letter, whatever the labels were; empty for a row without an answer."""
    found: dict[str, dict[str, str]] = {}
    for row in answers.rows:
        subject, _, number = row.id.partition("/")
        found.setdefault(subject, {})[number] = _LETTERS[labels.index(row.label)] if row.label in labels else ""
    return found


def summary(evaluation: Evaluation, benchmark: Benchmark) -> dict[str, Any]:
    """Scores by subject, by group and of all.

    Readers of these files expect their scales: a subject's score is a percentage, the others are shares.
    """
    members = {name: [row for row in evaluation.graded if row.group == name] for name in evaluation.groups()}
    subjects = {one.key: accuracy_of(members[one.key]) for one in benchmark.subjects if one.key in members}
    table: dict[str, Any] = {
        key: {"score": 100 * (accuracy.share or 0), "num": accuracy.total, "correct": accuracy.correct}
        for key, accuracy in subjects.items()
    }
    groups = {
        group: _sum(subjects[one.key] for one in benchmark.subjects if one.group == group and one.key in subjects)
        for group in benchmark.groups
    }
    table["grouped"] = {group: _shares(accuracy) for group, accuracy in groups.items() if accuracy.total}
    table["All"] = _shares(_sum(subjects.values()))
    return table


def _sum(accuracies: Iterable[Accuracy]) -> Accuracy:
    counted = list(accuracies)
    return Accuracy(sum(one.correct for one in counted), sum(one.total for one in counted))


def _shares(accuracy: Accuracy) -> dict[str, Any]:
    return {"correct": accuracy.correct, "num": accuracy.total, "score": accuracy.share}
