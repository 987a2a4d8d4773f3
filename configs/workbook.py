"""The first sheet of an xlsx workbook as a grid of cells, numbers and dates as the sheet shows them.

Calamine gives the values, quickly and without their formats. What is to know of formats, formulas and the sheet's
extent is read from its XML (`configs.workbook_marks`): openpyxl takes ten times as long, most of it for texts that are
not asked for.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any
from xml.parsers import expat

from configs.errors import ConfigError, require
from configs.number_format import shown
from configs.workbook_marks import Marks, read_marks

_MOST_CELLS = 10_000_000
"""Of the rectangle that the filled cells span: its grid is held in memory, and one stray cell can make it endless."""
_MOST_BYTES = 2 << 30
_HINT = "open it in a spreadsheet and save it as .xlsx"


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
            marks = read_marks(archive, workbook.sheet_names[index])
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


def _check_extent(marks: Marks, path: Path) -> None:
    if marks.rows * marks.columns > _MOST_CELLS:
        raise ConfigError(
            f"{path}: the cells span {marks.rows:,} rows and {marks.columns:,} columns",
            hint="delete the stray cells far from the table",
        )


def _mark(grid: list[list[Any]], marks: Marks) -> None:
    """Write into the grid what the sheet shows of its numbers and dates, and which cells cannot be read."""
    for row in grid:
        for place, cell in enumerate(row):
            if isinstance(cell, float):
                row[place] = float(f"{cell:.15g}")  # as spreadsheets do: 0.1 + 0.2 is 0.3
    for (at, place), code in marks.formats.items():
        if _is_in(grid, at, place):
            text = shown(grid[at][place], code)
            if text is not None and text != _bare(grid[at][place]):
                grid[at][place] = text
    for (at, place), fault in marks.faults.items():
        if _is_in(grid, at, place):
            grid[at][place] = fault


def _is_in(grid: list[list[Any]], row: int, column: int) -> bool:
    return 0 <= row < len(grid) and 0 <= column < len(grid[row])


def _bare(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _fill_merged(grid: list[list[Any]], ranges: Any) -> None:
    """A cell merged over several rows is seen beside each of them: write its value into every one."""
    for (top, left), (bottom, _) in ranges:
        if 0 < top < bottom and _is_in(grid, top, left):
            for row in grid[top + 1 : bottom + 1]:
                row[left] = grid[top][left]
