"""First pass over the sources: every row looked at once, the good ones written aside with what the second pass asks.

Memory stays the same however many rows there are: rows and their index go to files, and what was seen before is asked
of a database on disk.
"""

from __future__ import annotations

import csv
import hashlib
import sqlite3
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trainer.datasets.folder import REJECTED_COLUMNS, Row
from trainer.datasets.found import Found
from trainer.datasets.split import ending_of, opening_of, whole_of

_CACHE_KIB = 64 * 1024
_CHUNK_ENTRIES = 65_536
_BETWEEN, _BEFORE_ROW = "\x1f", "\x1e"
"""JSON has no control characters, and neither have the words for entity types."""


class Entry(NamedTuple):
    """What is remembered of a row that was written aside."""

    source: int
    number: int
    """Place in the source, counted from 1."""
    whole: int
    """Hash of the text that it must not share across the split."""
    ending: int
    """Hash of how that text ends."""
    opening: int
    """Hash of how a passage or raw text begins; 0 of a conversation, whose beginning many may share."""
    characters: int
    tokens: int
    """0 where no model was given."""
    truncated: bool
    answer: int
    """Place of the right option; 0 where there is none."""


_ENTRY = struct.Struct("<HQQQQII?B")


@dataclass(slots=True)
class Counts:
    """What came of one source."""

    file: str
    rows: int = 0
    rejected: int = 0
    duplicates: int = 0
    tallies: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """Rows written aside."""
        return self.rows - self.rejected


Measure = Callable[[Row], tuple[int, bool] | str]
"""(tokens, whether the row is shortened) of a row, or why it cannot be trained on."""


class Gathering:
    """Rows written aside, and the list of those left out. Use as a context manager."""

    def __init__(self, folder: Path, rejected: Path, measure: Measure | None) -> None:
        folder.mkdir()
        self._measure = measure
        self._rows_path, self._index_path = folder / "rows.jsonl", folder / "index.bin"
        self._rows = self._rows_path.open("w", encoding="utf-8", newline="\n")
        self._index = self._index_path.open("wb")
        self._seen = _Seen(folder / "seen.sqlite")
        self._rejected_file = rejected.open("w", encoding="utf-8-sig", newline="")
        self._rejected = csv.writer(self._rejected_file)
        self._rejected.writerow(REJECTED_COLUMNS)
        self.counts: list[Counts] = []
        self.first_reason = ""

    def __enter__(self) -> Gathering:
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.close()
        for file in (self._rows, self._index, self._rejected_file):
            file.close()

    def take(self, file: str, found_rows: Iterable[Found]) -> None:
        """Go through one source."""
        counts = Counts(file)
        self.counts.append(counts)
        for found in found_rows:
            counts.rows += 1
            counts.tallies.update(found.tallies)
            reason, entry = self._judged(found, counts)
            if entry is None:
                counts.rejected += 1
                self.reject(file, found.number, found.id, reason, found.asked)
            else:
                assert found.row is not None
                self._rows.write(f"{_BETWEEN.join(found.entity_types)}{_BEFORE_ROW}{found.row.to_json()}\n")
                self._index.write(_ENTRY.pack(*entry))

    def reject(self, file: str, number: int, id_: str, reason: str, asked: str) -> None:
        """List a row that is left out."""
        self.first_reason = self.first_reason or reason
        self._rejected.writerow((file, number, id_, reason, asked))

    def entries(self) -> Iterator[Entry]:
        """The index of the rows written aside, in order."""
        self._index.flush()
        with self._index_path.open("rb") as file:
            while chunk := file.read(_ENTRY.size * _CHUNK_ENTRIES):
                yield from map(Entry._make, _ENTRY.iter_unpack(chunk))

    def lines(self) -> Iterator[tuple[str, list[str]]]:
        """The rows written aside, in order: a line of JSON with its line end, and the types of the entities in it."""
        self._rows.flush()
        with self._rows_path.open(encoding="utf-8", newline="\n") as file:
            for written in file:
                types, _, line = written.partition(_BEFORE_ROW)
                yield line, types.split(_BETWEEN) if types else []

    def _judged(self, found: Found, counts: Counts) -> tuple[str, Entry | None]:
        """(reason to leave the row out, or its entry)."""
        row = found.row
        if row is None:
            return found.reason, None
        first = self._seen.first(row, f"{counts.file} row {found.number}")
        if first:
            counts.duplicates += 1
            return first, None
        measured = self._measure(row) if self._measure else (0, False)
        if isinstance(measured, str):
            return measured, None
        question = row.question
        text = question.passage if question else found.text or row.asked
        answer = (question.answer or 0) if question else 0
        place = len(self.counts) - 1
        opening = opening_of(text) if question or row.text or found.text else 0
        hashes = whole_of(text), ending_of(text), opening
        return "", Entry(place, found.number, *hashes, row.characters, *measured, answer)


class _Seen:
    """Rows seen so far: a hash of what makes two rows one, and where the first of them stood."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {setting}").close()
        self._database.execute("CREATE TABLE seen (hash BLOB PRIMARY KEY, place TEXT, answer INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def first(self, row: Row, place: str) -> str:
        """Why the row is a duplicate, or nothing where it is the first of its kind."""
        parts, answer = _identity(row)
        digest = hashlib.blake2b("\x00".join(parts).encode("utf-8"), digest_size=16).digest()
        with closing(self._database.cursor()) as cursor:
            cursor.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (digest, place, answer))
            if cursor.rowcount:
                return ""
            first, its_answer = cursor.execute("SELECT place, answer FROM seen WHERE hash = ?", (digest,)).fetchone()
        return f"duplicate of {first}" if its_answer == answer else f"duplicate of {first} with another answer"

    def close(self) -> None:
        self._database.close()


def _identity(row: Row) -> tuple[list[str], int]:
    """(texts that make two rows one, answer): an exam question is the same whatever its answer says."""
    if row.question:
        asked = row.question
        return ["exam", *(text.strip() for text in (asked.passage, asked.question, *asked.choices))], asked.answer or 0
    if row.text:
        return ["text", row.text.strip()], 0
    return [part for message in row.messages for part in (message["role"], message["content"].strip())], 0
