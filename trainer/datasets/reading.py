"""Records of a file, one after another: jsonl, json, txt and saved datasets stream: no corpus need fit in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from configs.encodings import find_encoding
from configs.errors import ConfigError
from configs.records import EXCEL, TEXT, Table, json_decoder, read_table
from trainer.datasets.saved import SUFFIXES, is_saved, saved_rows

STREAMED = (".txt", ".jsonl", ".json")
_CHUNK = 1 << 20
_WHITE_SPACE = re.compile(r"[ \t\r\n]*")
_LONGEST_PART = 16
"""Characters that a number's rest, a word such as `false` or an escape may have: where a text ends in one, the fault is
told where it begins."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its place in the file counted from 1, and its cells by column, or what is wrong with it."""

    number: int
    cells: Mapping[str, Any]
    error: str = ""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file whose records can be read, again and again."""

    path: Path
    columns: tuple[str, ...]
    """Of a table all columns, of a stream those of its first record; a line of text is the column `text`."""
    first: Mapping[str, Any]
    """The cells of the first record that has any."""
    notes: tuple[str, ...]
    """Sentences a person should read."""
    table: Table | None
    """The whole table, where the file is one."""
    records: Callable[[], Iterator[Record]]


def open_source(path: Path, encoding: str = "") -> SourceFile:
    """Look into a file: what it is, and its columns.

    Raises:
        ConfigError: it is missing, of an unknown kind, damaged or empty.
    """
    if is_saved(path):
        return _streamed(path, lambda: (Record(number, cells) for number, cells in enumerate(saved_rows(path), 1)), "")
    if not path.is_file():
        raise ConfigError(f"{path} is a folder" if path.is_dir() else f"{path} does not exist", hint="name a sheet")
    if path.suffix.lower() not in (*STREAMED, *TEXT, *EXCEL):
        known = ", ".join(suffix[1:] for suffix in (*EXCEL, *TEXT, *STREAMED, *SUFFIXES))
        raise ConfigError(f"{path} is none of {known}", hint="save it as one of these")
    if path.suffix.lower() not in STREAMED:
        table = read_table(path, encoding=encoding)
        rows = table.rows
        return SourceFile(
            path, table.columns, rows[0], table.notes, table,
            lambda: (Record(number, cells) for number, cells in enumerate(rows, 1)),
        )  # fmt: skip
    encoding, note = _encoding(path, encoding)
    parse = _parser(path, encoding)

    def records() -> Iterator[Record]:
        with _opened(path, encoding) as file:
            yield from parse(file)

    return _streamed(path, records, note)


def _streamed(path: Path, records: Callable[[], Iterator[Record]], note: str) -> SourceFile:
    first = next((record for record in records() if record.cells), None)
    if first is None:
        error = next((record.error for record in records()), "")
        raise ConfigError(f"{path} has no record that can be read: {error}" if error else f"{path} is empty")
    return SourceFile(path, tuple(first.cells), first.cells, (note,) if note else (), None, records)


def _parser(path: Path, encoding: str) -> Callable[[TextIO], Iterator[Record]]:
    """What reads this file's records: by its suffix, and a txt by whether its first line is a JSON object."""
    if path.suffix.lower() == ".json":
        return lambda file: _array_items(file, path)
    if path.suffix.lower() == ".jsonl":
        return _json_lines
    with _opened(path, encoding) as file:
        line = next((line for line in file if line.strip()), "")
    return _text_lines if _parsed(line, 1).error else _json_lines


def _json_lines(file: TextIO) -> Iterator[Record]:
    filled = (line for line in file if line.strip())
    return (_parsed(line, number) for number, line in enumerate(filled, 1))


def _text_lines(file: TextIO) -> Iterator[Record]:
    filled = (line for line in file if line.strip())
    return (Record(number, {"text": line.rstrip("\r\n")}) for number, line in enumerate(filled, 1))


def _parsed(line: str, number: int) -> Record:
    try:
        value = _DECODE(line)
    except (ValueError, RecursionError) as error:
        return Record(number, {}, f"not valid JSON: {error}")
    return _record(value, number)


def _record(value: Any, number: int) -> Record:
    if not isinstance(value, dict):
        return Record(number, {}, "not an object with named fields")
    return Record(number, value)


def _array_items(file: TextIO, path: Path) -> Iterator[Record]:
    """The items of a JSON array, decoded one by one from a buffer that holds little more than one item."""
    decode = json_decoder().raw_decode
    buffer, number = file.read(_CHUNK), 0
    at = _filled(buffer, 0)
    if buffer[at : at + 1] != "[":
        raise ConfigError(f"{path} must hold a list of records", hint="one record a line is a .jsonl file")
    at = _filled(buffer, at + 1)
    while buffer[at : at + 1] != "]":
        try:
            value, end = decode(buffer, at)
            end = _filled(buffer, end)
            if buffer[end : end + 1] not in (",", "]"):  # at the buffer's end it is seen once more is read
                raise json.JSONDecodeError("it does not go on behind it", buffer, end)
        except (ValueError, RecursionError) as error:
            more = file.read(max(_CHUNK, len(buffer))) if _may_be_cut(error, buffer) else ""
            if not more:
                told = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise ConfigError(f"{path} is not valid JSON: record {number + 1}: {told}") from error
            buffer, at = buffer[at:] + more, 0
            at = _filled(buffer, at)
            continue
        number += 1
        yield _record(value, number)
        at = _filled(buffer, end + 1) if buffer[end] == "," else end


def _may_be_cut(error: Exception, buffer: str) -> bool:
    """Whether the item may be whole once more is read. Of a broken one the rest of the file would be read in vain."""
    if not isinstance(error, json.JSONDecodeError):  # a field that stands twice, lists too deep
        return False
    is_open = error.msg.startswith("Unterminated string")
    return is_open or error.pos >= len(buffer.rstrip()) - _LONGEST_PART


def _filled(text: str, at: int) -> int:
    """Place of the first character from `at` on that is no white space."""
    found = _WHITE_SPACE.match(text, at)
    return found.end() if found else at


def _encoding(path: Path, named: str) -> tuple[str, str]:
    """(encoding, note on it); UTF-8 with a mark or without."""
    found, note = (named, "") if named else find_encoding(path)
    return "utf-8-sig" if found == "utf-8" and not named else found, note


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    """The file as text, strictly decoded; a line ends where the file has a line feed."""
    try:
        with path.open(encoding=encoding, newline="\n") as file:
            yield file
    except UnicodeError as error:
        raise ConfigError(f"{path} is not text in {encoding}", hint="leave --encoding out, and it is found") from error
    except LookupError:
        raise ConfigError(
            f"there is no encoding '{encoding}'", hint="utf-8, cp950, big5hkscs, gb18030, utf-16, …"
        ) from None


_DECODE = json_decoder().decode
