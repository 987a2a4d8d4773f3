"""The first sheet of an xlsx workbook as a grid of cells, numbers and dates as the sheet shows them.

Calamine gives the values, quickly and without their formats. What is to know of formats, formulas and the sheet's
extent is read from its XML here: openpyxl takes ten times as long, most of it for texts that are not asked for.
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from configs.errors import ConfigError, require
from configs.number_format import BUILTIN, shown

_MOST_CELLS = 10_000_000
"""Of the rectangle that the filled cells span: its grid is held in memory, and one stray cell can make it endless."""
_MOST_BYTES = 2 << 30
_HINT = "open it in a spreadsheet and save it as .xlsx"


class CellFault(str):
    """Stands for a cell that has no text to read; says why, to go after "holds"."""

    __slots__ = ()


@dataclass(slots=True)
class _Marks:
    """What a sheet's XML says of its cells beyond their values; places are (row, column), counted from 0."""

    formats: dict[tuple[int, int], str] = field(default_factory=dict)
    faults: dict[tuple[int, int], CellFault] = field(default_factory=dict)
    rows: int = 0
    columns: int = 0


def read_workbook(path: Path) -> tuple[list[list[Any]], tuple[str, ...]]:
    """(the first visible sheet's cells by row and column, sentences a person should read).

    Raises:
        ConfigError: the file is no xlsx workbook, is damaged, or spans more cells than can be held.
        MachineError: the reader is not installed.
    """
    calamine = require("python_calamine", "edge")
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"{path} is not an xlsx workbook", hint=_HINT)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MOST_BYTES:
                raise ConfigError(f"{path} unpacks to more than {_MOST_BYTES >> 30} GB", hint=_HINT)
            workbook = calamine.CalamineWorkbook.from_path(str(path))
            index, notes = _choose(workbook, calamine)
            marks = _read_marks(archive, workbook.sheet_names[index])
        _check_extent(marks, path)  # before calamine makes room for it: memory that is not there ends the process
        sheet = workbook.get_sheet_by_index(index)
        grid: list[list[Any]] = sheet.to_python(skip_empty_area=False)
        _mark(grid, marks)
        _fill_merged(grid, sheet.merged_cell_ranges or ())
    except (calamine.CalamineError, calamine.WorksheetNotFound, *_DAMAGE) as error:
        raise ConfigError(f"{path} is not an xlsx workbook: {_sentence(error)}", hint=_HINT) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how Rust's panics arrive; no class of it can be imported
            raise
        raise ConfigError(f"{path} is a damaged workbook", hint=_HINT) from error
    return grid, notes


_DAMAGE = (
    KeyError, IndexError, ValueError, OverflowError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile,
    zipfile.LargeZipFile, zlib.error, expat.ExpatError,
)  # fmt: skip


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _choose(workbook: Any, calamine: Any) -> tuple[int, tuple[str, ...]]:
    """The first sheet of cells that is not hidden."""
    kinds, visible = calamine.SheetTypeEnum, calamine.SheetVisibleEnum.Visible
    tables = [at for at, sheet in enumerate(workbook.sheets_metadata) if sheet.typ == kinds.WorkSheet]
    shown_ones = [at for at in tables if workbook.sheets_metadata[at].visible == visible]
    chosen = next(iter(shown_ones or tables), 0)
    if len(shown_ones) < 2:
        return chosen, ()
    return chosen, (f"the first of {len(shown_ones)} sheets is read: {workbook.sheet_names[chosen]}",)


def _check_extent(marks: _Marks, path: Path) -> None:
    if marks.rows * marks.columns > _MOST_CELLS:
        raise ConfigError(
            f"{path}: the cells span {marks.rows:,} rows and {marks.columns:,} columns",
            hint="delete the stray cells far from the table",
        )


def _mark(grid: list[list[Any]], marks: _Marks) -> None:
    """Write into the grid what the sheet shows of its numbers and dates, and which cells cannot be read."""
    for row in grid:
        for place, cell in enumerate(row):
            if isinstance(cell, float):
                row[place] = float(f"{cell:.15g}")  # as spreadsheets do: 0.1 + 0.2 is 0.3
    for (at, place), code in marks.formats.items():
        if at < len(grid) and place < len(grid[at]):
            text = shown(grid[at][place], code)
            if text is not None and text != _bare(grid[at][place]):
                grid[at][place] = text
    for (at, place), fault in marks.faults.items():
        if at < len(grid) and place < len(grid[at]):
            grid[at][place] = fault


def _bare(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _fill_merged(grid: list[list[Any]], ranges: Any) -> None:
    """A cell merged over several rows is seen beside each of them: write its value into every one."""
    for (top, left), (bottom, _) in ranges:
        if top and bottom > top and top < len(grid) and left < len(grid[top]):
            for row in grid[top + 1 : bottom + 1]:
                row[left] = grid[top][left]


def _read_marks(archive: zipfile.ZipFile, name: str) -> _Marks:
    part = _part_of(archive, name)
    codes = _codes(archive)
    marks = _Marks()
    with archive.open(part) as file:
        _SheetScan(marks, codes).run(file)
    return marks


def _part_of(archive: zipfile.ZipFile, name: str) -> str:
    """The archive's file with the sheet of that name."""
    relations = {
        found["Id"]: found["Target"]
        for tag, found in _elements(archive, "xl/_rels/workbook.xml.rels")
        if tag == "Relationship"
    }
    for tag, found in _elements(archive, "xl/workbook.xml"):
        if tag == "sheet" and found.get("name") == name:
            key = next(value for label, value in found.items() if label.rpartition(":")[2] == "id")
            return posixpath.normpath(posixpath.join("/xl", relations[key])).lstrip("/")
    raise KeyError(f"there is no sheet {name}")


def _codes(archive: zipfile.ZipFile) -> dict[str, str]:
    """Style number, as cells write it -> format code, of the styles that have one."""
    if "xl/styles.xml" not in archive.namelist():
        return {}
    own: dict[int, str] = {}
    codes: dict[str, str] = {}
    inside, count = False, 0
    for tag, found in _elements(archive, "xl/styles.xml"):
        if tag in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
            inside = tag == "cellXfs"
        elif tag == "numFmt" and "numFmtId" in found:
            own[int(found["numFmtId"])] = found.get("formatCode", "")
        elif tag == "xf" and inside:
            number = int(found.get("numFmtId", 0))
            code = own.get(number) or BUILTIN.get(number, "")
            if code and code not in ("General", "@"):
                codes[str(count)] = code
            count += 1
    return codes


def _elements(archive: zipfile.ZipFile, part: str) -> list[tuple[str, dict[str, str]]]:
    """(tag without its prefix, attributes) of every element of a small part, in order."""
    found: list[tuple[str, dict[str, str]]] = []
    parser = _parser()
    parser.StartElementHandler = lambda tag, attributes: found.append((tag.rpartition(":")[2], attributes))
    with archive.open(part) as file:
        parser.ParseFile(file)
    return found


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which no workbook has")

    parser.StartDoctypeDeclHandler = refuse
    return parser


class _SheetScan:
    """One pass over a sheet's XML: where numbers have formats, which cells cannot be read, how far the cells reach."""

    def __init__(self, marks: _Marks, codes: dict[str, str]) -> None:
        self._marks = marks
        self._codes = codes
        self._letters: dict[str, int] = {}
        self._row = self._column = -1
        self._cell: dict[str, str] = {}
        self._formula = self._value = False
        self._parser = _parser()

    def run(self, file: IO[bytes]) -> None:
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.ParseFile(file)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if tag == "c":
            self._cell = attributes
            self._formula = self._value = False
            self._column = self._place(attributes.get("r", ""))
        elif tag == "v" or tag == "is":
            self._value = not self._formula or self._cell.get("t") == "str"
            if not self._value:
                self._parser.CharacterDataHandler = self._take
        elif tag == "f":
            self._formula = True
        elif tag == "row":
            self._row = int(attributes["r"]) - 1 if "r" in attributes else self._row + 1
            self._column = -1

    def _place(self, reference: str) -> int:
        """The column of `AB12`, counted from 0; the next one where the file leaves the reference out."""
        letters = reference.rstrip("0123456789")
        if not letters:
            return self._column + 1
        if letters not in self._letters:
            column = 0
            for letter in letters.upper():
                column = 26 * column + ord(letter) - ord("A") + 1
            self._letters[letters] = column - 1
        return self._letters[letters]

    def _take(self, _: str) -> None:
        """A formula's value holds something; only those are looked into, for the look costs time."""
        self._value = True
        self._parser.CharacterDataHandler = None

    def _end(self, tag: str) -> None:
        if tag != "c" and tag.rpartition(":")[2] != "c":
            return
        if self._formula:
            self._parser.CharacterDataHandler = None
        if not (self._value or self._formula):
            return
        marks, kind = self._marks, self._cell.get("t", "n")
        marks.rows = max(marks.rows, self._row + 1)
        marks.columns = max(marks.columns, self._column + 1)
        if self._formula and not self._value:
            marks.faults[self._row, self._column] = CellFault("a formula that was never calculated")
        elif kind == "e":
            marks.faults[self._row, self._column] = CellFault("a formula's error")
        elif kind in ("n", "d") and (code := self._codes.get(self._cell.get("s", "0"))):
            marks.formats[self._row, self._column] = code
