"""A sheet's rows as questions to compute, and the count of what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from configs.accuracy import Accuracy
from configs.atomic import sha256_text
from configs.exam import Question, QuestionFormat
from configs.sheets import SheetRow
from runtime.answering import weigh
from runtime.buckets import shared_passages
from runtime.debias import priors
from runtime.report import AnsweredRow
from runtime.results import Result


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


class Questions:
    """The sheet's rows by content: rows with equal content share a key and are computed once."""

    def __init__(self, rows: Sequence[SheetRow], labels: QuestionFormat, identity: dict[str, Any]) -> None:
        self.rows = rows
        self.labels = labels
        self.errors: dict[str, str] = {}
        """Key -> why this question cannot be asked."""
        self.failed: dict[str, str] = {}
        """Key -> why it was not answered this time."""
        self.unique: dict[str, Question] = {}
        """Key -> question that can be asked."""
        self._unconverted: set[str] = set()
        self._salt = fingerprint(identity)
        self._debias = identity.get("debias", "none")
        self._shared = shared_passages(row.question for row in rows if row.question and self._has_labels(row.question))
        self._keys = [self._key(row.question) if row.question else "" for row in rows]
        for row, key in zip(rows, self._keys, strict=True):
            if row.question and key not in self.unique and key not in self.errors:
                self._sort_in(key, row.question)

    def keys(self) -> set[str]:
        """Of the questions that can be asked."""
        return set(self.unique)

    def keyed_rows(self) -> Iterator[tuple[SheetRow, str]]:
        """Every row with its key, in the order of the sheet."""
        return zip(self.rows, self._keys, strict=True)

    @cached_property
    def places(self) -> Mapping[str, Sequence[int]]:
        """Key -> the places of its rows, counted from 0."""
        found: dict[str, list[int]] = {}
        for place, key in enumerate(self._keys):
            found.setdefault(key, []).append(place)
        return found

    def answered_row(self, place: int, result: Result | None, reason: str = "") -> AnsweredRow:
        """One row by its place, as it stands while others are still computed; `reason`: why there is no result."""
        if result is None and self._keys[place] in self.unique:
            return AnsweredRow(self.rows[place], None, reason)
        return self._answered(self.rows[place], self._keys[place], result, {})

    def answered(self, results: Mapping[str, Result]) -> list[AnsweredRow]:
        """Every row with what was computed for it."""
        scores = {key: results[key].scores for key in self.unique if key in results}
        favours = priors(self.unique, scores) if self._debias == "pride" else {}
        return [self._answered(row, key, results.get(key), favours) for row, key in self.keyed_rows()]

    def _sort_in(self, key: str, question: Question) -> None:
        if not self._has_labels(question):
            self.errors[key] = f"{len(question.choices)} options, but only {len(self.labels.labels)} labels"
            return
        self.unique[key] = question
        if self.labels.collapses(question):
            self._unconverted.add(key)

    def _answered(
        self, row: SheetRow, key: str, result: Result | None, favours: Mapping[int, Sequence[float]]
    ) -> AnsweredRow:
        if row.question is None:
            return AnsweredRow(row, None, row.error)
        if result is None or key in self.errors:
            return AnsweredRow(row, None, self.errors.get(key) or self.failed.get(key, "not computed"))
        remarks = (f"not converted by {self.labels.convert}: options would become the same",)
        answer = weigh(row.question, result.scores, favours.get(len(row.question.choices), ()))
        return AnsweredRow(row, answer, remarks=remarks if key in self._unconverted else ())

    def _has_labels(self, question: Question) -> bool:
        return len(question.choices) <= len(self.labels.labels)

    def _key(self, question: Question) -> str:
        """All that the bits of its scores depend on."""
        shared = question.passage in self._shared
        return fingerprint([question.passage, question.question, list(question.choices), shared, self._salt])


def summarise(questions: Questions, rows: Sequence[AnsweredRow], known: Set[str], fallback: str) -> Summary:
    """Count the rows. `known` are the keys that the journal held when the run began."""
    answered = [(row, key) for row, (_, key) in zip(rows, questions.keyed_rows(), strict=True) if row.answer]
    from_journal = sum(key in known for _, key in answered)
    standing = questions.labels.labels.index(fallback) + 1 if fallback else None
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


def fingerprint(value: object) -> str:
    """SHA-256 of a value that JSON can write."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return sha256_text(text)
