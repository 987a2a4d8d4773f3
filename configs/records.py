"""Tables of people: xlsx, csv, tsv, json and jsonl files read into columns and rows, each cell as it was typed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.encodings import decode_file
from configs.errors import ConfigError
from configs.workbook import read_workbook

EXCEL = (".xlsx", ".xlsm")
TEXT = (".csv", ".tsv")
JSON = (".json", ".jsonl")

_SEPARATOR_LINE = re.compile(r'sep=([^"\r\n])\r?\n')


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of one file; a row's cells stand under the columns' names, an empty cell is None."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    typed: bool
    """The file tells numbers from texts (xlsx, json); in a csv every cell is text."""
    notes: tuple[str, ...] = ()
    """Sentences a person should read: which encoding was taken, which of several sheets."""


def read_table(path: Path, *, encoding: str = "") -> Table:
    """Read the first sheet of a workbook, or a text file's rows.

    Args:
        encoding: of a text file; empty finds it out (see `configs.encodings`).

    Raises:
        ConfigError: the file is missing, of an unknown kind, damaged or empty.
        MachineError: the reader of this kind is not installed.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="give the sheet's file")
    suffix = path.suffix.lower()
    if suffix in EXCEL:
        grid, notes = read_workbook(path)
        return _from_grid(grid, path, typed=True, notes=notes)
    if suffix in (*TEXT, *JSON):
        decoded = decode_file(path, encoding)
        notes = (decoded.note,) if decoded.note else ()
        if suffix in TEXT:
            return _from_grid(_read_text(decoded.text, path), path, typed=False, notes=notes)
        return _from_objects(_read_json(decoded.text, path), path, notes=notes)
    raise ConfigError(f"{path} is none of xlsx, csv, tsv, json and jsonl", hint="save the sheet as one of these")


def _from_grid(grid: Sequence[Sequence[Any]], path: Path, *, typed: bool, notes: tuple[str, ...]) -> Table:
    """First line the header, then the rows; lines that are wholly blank are no rows."""
    filled = [line for line in grid if any(not _blank(cell) for cell in line)]
    if not filled:
        raise ConfigError(f"{path} is empty")
    header = [cell_text(cell).strip() for cell in filled[0]]
    names = [name for name in header if name]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigError(f"{path} has the column {', '.join(sorted(repeated))} twice")
    rows = []
    for number, line in enumerate(filled[1:], 1):
        stray = [
            cell for name, cell in zip(header + [""] * len(line), line, strict=False) if not name and not _blank(cell)
        ]
        if stray:
            raise ConfigError(f"{path}: row {number} has a cell without a column: '{cell_text(stray[0])[:20]}'")
        cells = list(line) + [None] * (len(header) - len(line))
        rows.append({name: _cell(cell) for name, cell in zip(header, cells, strict=False) if name})
    if not rows:
        raise ConfigError(f"{path} has a header and no rows")
    return Table(tuple(names), rows, typed, notes)


def _from_objects(objects: list[Any], path: Path, *, notes: tuple[str, ...]) -> Table:
    columns: dict[str, None] = {}
    for number, value in enumerate(objects, 1):
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: record {number} is not an object with named fields")
        columns.update(dict.fromkeys(value))
    if not objects:
        raise ConfigError(f"{path} is empty")
    rows = [{name: _cell(row.get(name)) for name in columns} for row in objects]
    return Table(tuple(columns), rows, typed=True, notes=notes)


def _blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _cell(cell: Any) -> Any:
    return None if isinstance(cell, str) and not cell else cell


def _read_text(text: str, path: Path) -> list[list[Any]]:
    named = _SEPARATOR_LINE.match(text)  # Excel's own way to name the separator
    if named:
        text = text[named.end() :]
    # A spreadsheet separates by semicolons where the comma is the decimal sign, and writes tabs into "text" files.
    header = text.partition("\n")[0]
    delimiter = named[1] if named else max(",;\t", key=header.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ConfigError(f"{path} is not a well-formed table: {error}") from error


def _read_json(text: str, path: Path) -> list[Any]:
    try:
        if path.suffix.lower() == ".jsonl":
            return [parse_json(line) for line in text.split("\n") if line.strip()]
        value = parse_json(text)
    except (ValueError, RecursionError) as error:  # of numbers too long and lists too deep, too
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, list):
        raise ConfigError(f"{path} must hold a list of records")
    return value


def parse_json(text: str) -> Any:
    """Strict JSON, except that NaN is read, as the blank cell that a library means by it."""
    return json_decoder().decode(text)


def json_decoder() -> json.JSONDecoder:
    """The decoder of `parse_json`."""
    return json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return fields


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is no number")


def cell_text(cell: Any) -> str:
    """What a person reads in the cell: `26` and not `26.0`, `0.3` as typed, nothing for an empty cell."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell)
