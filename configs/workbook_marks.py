"""What a sheet's XML says of its cells beyond their values: number formats, formulas without a value, the extent."""

from __future__ import annotations

import posixpath
import zipfile
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat

from configs.number_format import BUILTIN


class CellFault(str):
    """Stands for a cell that has no text to read; says why, to go after "holds"."""

    __slots__ = ()


@dataclass(slots=True)
class Marks:
    """Of one sheet; places are (row, column), counted from 0."""

    formats: dict[tuple[int, int], str] = field(default_factory=dict)
    faults: dict[tuple[int, int], CellFault] = field(default_factory=dict)
    rows: int = 0
    columns: int = 0


def read_marks(archive: zipfile.ZipFile, name: str) -> Marks:
    """Read the marks of the sheet of that name.

    Raises:
        KeyError, ValueError, ExpatError, BadZipFile: the workbook is damaged.
    """
    part = _part_of(archive, name)
    codes = _codes(archive)
    marks = Marks()
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
            key = next((value for label, value in found.items() if label.rpartition(":")[2] == "id"), "")
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

    def __init__(self, marks: Marks, codes: dict[str, str]) -> None:
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
