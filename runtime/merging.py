"""Journals of shards -> one journal and one CSV, the same bytes that one machine writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from configs.errors import ConfigError, ToolError
from configs.exam import QuestionFormat
from runtime.answers_file import AnswersFile
from runtime.buckets import bucket_count
from runtime.inputs import Setup, SheetFile, fingerprint_of
from runtime.journal import Contents, Journal, differences, journal_path, read_journal
from runtime.results import SCORES, Result
from runtime.rows import Questions, Summary
from runtime.shards import Shard

V = TypeVar("V")

_NAMED_ROWS = 10


@dataclass(frozen=True, slots=True)
class Merged:
    """How a merge ended."""

    summary: Summary
    notes: tuple[str, ...]
    """Sentences a person should read."""


def merge_shards(parts: Sequence[Path], sheet_file: SheetFile, output: AnswersFile, *, restart: bool) -> Merged:
    """Join the parts into the output. Doing it again changes nothing; with more parts it goes on from where it was.

    Args:
        parts: a shard's CSV, or its journal, each.
        restart: forget what the output's own journal holds.

    Raises:
        ConfigError: a part is no journal, or of another model, format or setting than the first.
        ToolError: rows of the sheet are in no part; what there is stays in the output's journal.
    """
    held = {path: read_journal(path, SCORES) for path in map(_journal_of, parts)}
    setups = {path: Setup.from_table(part.header.get("setup", {}), str(path)) for path, part in held.items()}
    _check_agreement(held, setups)
    identity, setup = _first(held).header["identity"], _first(setups).whole()
    sheet = sheet_file.read()
    labels = QuestionFormat.from_toml(setup.question_format, source=str(next(iter(held))))
    output.check(sheet, sheet_file.path, labels)
    output.refuse_stranger()
    inputs = fingerprint_of(identity, setup, sheet, sheet_file, output)
    notes = list(sheet.notes)
    with Journal(journal_path(output.path), identity, SCORES, setup=setup.table(), restart=restart) as journal:
        if summary := output.standing(journal, inputs):
            return Merged(summary, tuple(notes))
        journal.begin_run(inputs, output.sha256())
        questions = Questions(sheet.rows, labels, identity)
        notes += _gather(questions, held, journal)
        _refuse_gaps(questions, journal, {setup.shard.count for setup in setups.values()})
        return Merged(output.write(questions, journal, journal.results.keys(), inputs), tuple(notes))


def _journal_of(part: Path) -> Path:
    return part if part.name.endswith(".journal.jsonl") else journal_path(part)


def _first(parts: dict[Path, V]) -> V:
    return next(iter(parts.values()))


def _check_agreement(held: dict[Path, Contents[Result]], setups: dict[Path, Setup]) -> None:
    """Refuse parts that were not computed alike."""
    wanted = _dependencies(_first(held), _first(setups))
    for path, part in held.items():
        found = _dependencies(part, setups[path])
        if found != wanted:
            differing = " and ".join(differences(found, wanted))
            raise ConfigError(
                f"{path} belongs to a run with other {differing} than {next(iter(held))}",
                hint="run that shard again, with the same model and flags",
            )


def _dependencies(part: Contents[Result], setup: Setup) -> dict[str, Any]:
    return {**part.header["identity"], **setup.whole().table()}


def _gather(questions: Questions, held: dict[Path, Contents[Result]], journal: Journal[Result]) -> list[str]:
    """Take every result into the journal, in the order of the sheet; returns what is to be said of it."""
    other_bits = 0
    for key in questions.unique:
        found = [contents.results[key] for contents in held.values() if key in contents.results]
        if found and key not in journal.results:
            journal.add(key, found[0])
        other_bits += any(result != journal.results[key] for result in found)
        reasons = [contents.errors[key] for contents in held.values() if key in contents.errors]
        if reasons and key not in journal.results:
            questions.errors[key] = reasons[0]
            journal.refuse(key, reasons[0])
    if not other_bits:
        return []
    return [f"{other_bits} questions were computed twice, with other last digits: the first part that has one counts"]


def _refuse_gaps(questions: Questions, journal: Journal[Result], counts: set[int]) -> None:
    """Say which rows nobody computed, and whose they were."""
    there = journal.results.keys() | questions.errors.keys()
    gaps = [row for row, key in questions.keyed_rows() if row.question and key not in there]
    if not gaps:
        return
    where = ""
    if len(counts) == 1:
        (count,) = counts
        buckets = bucket_count(len(questions.unique))
        shards = (Shard(number, count) for number in range(1, count + 1))
        lacking = ", ".join(str(shard) for shard in shards if shard.rows(gaps, buckets))
        where = f": shard {lacking} is not there or not complete"
    numbers = ", ".join(str(row.number) for row in gaps[:_NAMED_ROWS]) + (", …" if len(gaps) > _NAMED_ROWS else "")
    raise ToolError(
        f"{len(gaps)} rows are in none of the parts (rows {numbers}){where}",
        hint="run predict --shard for it to the end and merge again",
    )
