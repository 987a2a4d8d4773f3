"""Tables of people: xlsx, csv, tsv, json and jsonl files read into columns and rows, each cell as it was typed."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, require

EXCEL = (".xlsx", ".xlsm")
TEXT = (".csv", ".tsv")
JSON = (".json", ".jsonl")

# Chinese files come in these, most likely first; each is tried strictly, so a wrong guess fails instead of garbling.
_ENCODINGS = ("utf-8-sig", "cp950", "gb18030")


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of one file; a row's cells stand under the columns' names, an empty cell is None."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    typed: bool
    """The file tells numbers from texts (xlsx, json); in a csv every cell is text."""


def read_table(path: Path) -> Table:
    """Read the first sheet of a workbook, or a text file's rows.

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
        return _from_grid(_read_excel(path), path, typed=True)
    if suffix in TEXT:
        return _from_grid(_read_text(path), path, typed=False)
    if suffix in JSON:
        return _from_objects(_read_json(path), path)
    raise ConfigError(f"{path} is none of xlsx, csv, tsv, json and jsonl", hint="save the sheet as one of these")


def _from_grid(grid: Sequence[Sequence[Any]], path: Path, *, typed: bool) -> Table:
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
    return Table(tuple(names), rows, typed)


def _from_objects(objects: list[Any], path: Path) -> Table:
    columns: dict[str, None] = {}
    for number, value in enumerate(objects, 1):
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: record {number} is not an object with named fields")
        columns.update(dict.fromkeys(value))
    if not objects:
        raise ConfigError(f"{path} is empty")
    return Table(tuple(columns), [{name: _cell(row.get(name)) for name in columns} for row in objects], typed=True)


def _blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _cell(cell: Any) -> Any:
    return None if isinstance(cell, str) and not cell else cell


def _read_excel(path: Path) -> list[list[Any]]:
    calamine = require("python_calamine", "edge")
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"{path} is not an xlsx workbook", hint="open it in a spreadsheet and save it as .xlsx")
    try:
        workbook = calamine.CalamineWorkbook.from_path(str(path))
        sheet = workbook.get_sheet_by_index(0)
        grid: list[list[Any]] = sheet.to_python(skip_empty_area=False)
        _write_percentages(path, grid)
    except (calamine.CalamineError, calamine.WorksheetNotFound, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{path} is not an xlsx workbook: {error}", hint="open it in a spreadsheet and save it as .xlsx"
        ) from error
    return grid


def _write_percentages(path: Path, grid: list[list[Any]]) -> None:
    """Replace the numbers that the sheet shows as percentages by what it shows: 0.15 in a `0%` cell is `15%`.

    Calamine gives values without their formats, so openpyxl (ten times slower) looks where a percent style exists.
    """
    with zipfile.ZipFile(path) as archive:
        styles = archive.read("xl/styles.xml").decode("utf-8") if "xl/styles.xml" in archive.namelist() else ""
    if not any(sign in styles for sign in ('numFmtId="9"', 'numFmtId="10"', "%")):
        return
    openpyxl = require("openpyxl", "edge")
    workbook = openpyxl.load_workbook(path, read_only=True)
    for line in workbook.worksheets[0].iter_rows():
        for cell in line:
            if isinstance(cell.value, (int, float)) and "%" in cell.number_format:
                decimals = len(cell.number_format.split("%")[0].partition(".")[2])
                grid[cell.row - 1][cell.column - 1] = f"{cell.value:.{decimals}%}"
    workbook.close()


def _read_text(path: Path) -> list[list[Any]]:
    text = decode(path)
    # A spreadsheet separates by semicolons where the comma is the decimal sign, and writes tabs into "text" files.
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ConfigError(f"{path} is not a well-formed table: {error}") from error


def decode(path: Path) -> str:
    """The text of a file in UTF-8 (with or without BOM), Big5 or GB18030.

    Raises:
        ConfigError: it is in none of them.
    """
    data = path.read_bytes()
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError(f"{path} is not text in UTF-8, Big5 or GB18030", hint="save it as UTF-8")


def _read_json(path: Path) -> list[Any]:
    text = decode(path)
    try:
        if path.suffix.lower() == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # of numbers too long and lists too deep, too
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, list):
        raise ConfigError(f"{path} must hold a list of records")
    return value


def cell_text(cell: Any) -> str:
    """What a person reads in the cell: `26` and not `26.0`, `0.3` as typed, nothing for an empty cell."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell)
