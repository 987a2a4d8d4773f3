"""The files that `trainer prepare` was given: what kind of data each holds, and its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from configs.entity import EntityFormat
from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.records import Table
from configs.sheets import parse_columns as parse_exam_columns
from configs.sheets import read_questions
from trainer.datasets.found import Found, exam_rows, record_rows
from trainer.datasets.kinds import EXAM, KINDS, assign, detect
from trainer.datasets.reading import SourceFile, open_source
from trainer.datasets.saved import is_saved, saved_sha256


@dataclass(frozen=True, slots=True)
class Source:
    """A file, what it holds, and which of its columns is what."""

    file: SourceFile
    kind: str
    columns: Mapping[str, str]
    """Role -> column."""
    weight: Fraction | None
    sha256: str
    seen: dict[str, None]
    """The columns met so far, in order; of a stream more may come with the rows."""
    rows: Callable[[QuestionFormat | None, EntityFormat | None], Iterator[Found]]


def open_sources(
    paths: Sequence[tuple[Path, Fraction | None]], kind: str, given: Mapping[str, str], encoding: str
) -> list[Source]:
    """Look into every file, so that a bad one is known before anything is written.

    Args:
        paths: files and their weights.
        kind: of all of them; empty finds it out for each.
        given: column -> role, as the user named them.
        encoding: of text files; empty finds it out.

    Raises:
        ConfigError: a file is missing, unreadable, empty, given twice, or lacks a column.
    """
    if len({path.resolve() for path, _ in paths}) < len(paths):
        raise ConfigError("the same sheet is given twice")
    files = [(open_source(path, encoding), weight) for path, weight in paths]
    return [_source(file, weight, kind, given, encoding) for file, weight in files]


def check_given(sources: Sequence[Source], given: Mapping[str, str]) -> None:
    """Refuse a column that the user named and no source has; only when all are read are all columns known.

    Raises:
        ConfigError: there is such a column.
    """
    seen = {column: None for source in sources for column in source.seen}
    for column, role in given.items():
        if column not in seen:
            raise ConfigError(f"--columns {role}={column}: no such column", hint=f"there are {', '.join(seen)}")


def _source(file: SourceFile, weight: Fraction | None, kind: str, given: Mapping[str, str], encoding: str) -> Source:
    here = {column: role for column, role in given.items() if column in file.columns or not file.table}
    seen = dict.fromkeys(file.columns)
    kind = kind or detect(file.first, file.columns, here, str(file.path))
    if kind == EXAM:
        words = ",".join(f"{role}={column}" for column, role in here.items())
        table = file.table
        if is_saved(file.path):
            table = Table(file.columns, [dict(record.cells) for record in file.records()], typed=True)
        sheet = read_questions(
            file.path, columns=parse_exam_columns(words) or None, need_answers=True, encoding=encoding, table=table
        )

        def questions(question_format: QuestionFormat | None, _: EntityFormat | None) -> Iterator[Found]:
            assert question_format is not None
            return exam_rows(sheet, question_format)

        return Source(file, kind, sheet.columns, weight, sheet.sha256 or saved_sha256(file.path), seen, questions)
    of_kind = KINDS[kind]
    columns = assign(of_kind, file.columns, here, str(file.path))

    def records(_: QuestionFormat | None, entity_format: EntityFormat | None) -> Iterator[Found]:
        return record_rows(file, of_kind, here, entity_format, seen)

    return Source(file, kind, columns, weight, saved_sha256(file.path), seen, records)
