"""Question sheets -> Questions, and what is wrong with each row that is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.atomic import sha256_file
from configs.column_names import SOURCE, normalised
from configs.errors import ConfigError
from configs.exam import MAX_CHOICES, Question, parse_label, without_control
from configs.records import Table, cell_text, read_table
from configs.workbook_marks import CellFault

# What people call the columns; compared without case and blanks.
_NAMES = {
    "id": ("id", "題號", "题号", "編號", "编号", "no", "no."),
    "passage": ("passage", "文章", "短文", "article", "context", "text", "內文", "内文"),
    "question": ("question", "問題", "问题", "題目", "题目"),
    "answer": ("answer", "正確答案", "正确答案", "答案", "label", "gold"),
    "explanation": ("explanation", "解析", "詳解", "详解", "解說", "解说"),
    "choices": ("choices", "options", "選項", "选项"),
    "ignore": SOURCE,
}
_CHOICE_NAME = re.compile(r"^(?:選項|选项|option|choice)[\s_]*(?:(\d{1,2})|([a-z]))$")


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row of a sheet: a question, or the error that makes it none."""

    number: int
    """Place in the sheet, counted from 1 without the header."""
    id: str
    question: Question | None
    error: str = ""
    warnings: tuple[str, ...] = ()
    label_normalised: bool = False
    explanation: str = ""
    """Why the answer is right, where the sheet has such a column."""
    source: str = ""
    """Where the question comes from, where the sheet has such a column."""
    raw: Mapping[str, Any] | None = None
    """The cells as read, for reports on rejected rows."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A question sheet, every row of it."""

    rows: list[SheetRow]
    columns: dict[str, str]
    """What was taken for what: role (passage, question, choice1, …, answer, id) -> column."""
    sha256: str
    """Of the file; empty where the caller's table comes from a folder."""
    notes: tuple[str, ...] = ()
    """Sentences a person should read about how the file was read."""


def parse_columns(text: str) -> dict[str, str]:
    """Parse `passage=文章,choice1=甲,ignore=備註` into role -> column; several columns may be ignored.

    Raises:
        ConfigError: an unknown role or a part without `=`.
    """
    columns: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, sign, column = (word.strip() for word in part.partition("="))
        if not sign or not column or (role not in _NAMES and not _CHOICE_NAME.match(role)):
            roles = "id, passage, question, choice1, choice2, …, choices, answer, explanation, ignore"
            raise ConfigError(f"'{part}' in the column list is not ROLE=COLUMN", hint=f"the roles are {roles}")
        key = f"ignore:{column}" if role == "ignore" else role
        columns[key] = column
    return columns


def read_questions(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    need_answers: bool,
    columns_flag: str = "--columns",
    encoding: str = "",
    table: Table | None = None,
) -> Sheet:
    """Read a question sheet.

    Args:
        path: xlsx (its first sheet), csv, tsv, json or jsonl.
        columns: roles named by the user (see `parse_columns`); the others are recognised by name.
        need_answers: a row without a readable label is an error; otherwise its label is merely unknown.
        columns_flag: the flag that names columns, for the remedies.
        encoding: of a text file; empty finds it out (see `configs.encodings`).
        table: the file's table, where the caller has read it already.

    Raises:
        ConfigError: the file cannot be read, or its columns cannot be told.
    """
    table = _flattened(table or read_table(path, encoding=encoding))
    roles = _roles(table, columns or {}, path, columns_flag)
    if need_answers and "answer" not in roles:
        raise ConfigError(f"{path} has no column with the answers", hint=f"name it with {columns_flag} answer=COLUMN")
    rows = [
        _read_row(number, cells, roles, typed=table.typed, need_answers=need_answers)
        for number, cells in enumerate(table.rows, 1)
    ]
    shown = {role: column for role, column in roles.items() if not role.startswith("ignore")}
    return Sheet(rows, shown, sha256_file(path) if path.is_file() else "", table.notes)


def _flattened(table: Table) -> Table:
    """Rows of a dataset folder keep their question under `exam`, beside `id` and `messages`: lift it out."""
    if "exam" not in table.columns:
        return table
    rows = [{"id": row.get("id"), **(row["exam"] if isinstance(row["exam"], dict) else {})} for row in table.rows]
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table(columns, [{name: row.get(name) for name in columns} for row in rows], table.typed, table.notes)


def _roles(table: Table, given: Mapping[str, str], path: Path, flag: str) -> dict[str, str]:
    """Role -> column, choices in order."""
    columns = ", ".join(table.columns)
    for column in given.values():
        if column not in table.columns:
            raise ConfigError(f"{path} has no column '{column}'", hint=f"its columns are {columns}")
    roles = dict(given)
    taken = set(given.values())
    for column in table.columns:
        role = _role_of(column)
        if column in taken or (role in roles and role != "ignore"):
            continue
        if role is None:
            raise ConfigError(
                f"{path} has the unknown column '{column}'",
                hint=f"say what it is with {flag} ROLE={column}, or {flag} ignore={column}",
            )
        roles[f"ignore:{column}" if role == "ignore" else role] = column
    left = [column for column in table.columns if column not in roles.values()]
    if left:
        raise ConfigError(
            f"{path} has a second column for the same thing: '{left[0]}'", hint=f"{flag} ignore={left[0]}"
        )
    choices = sorted((role for role in roles if role.startswith("choice") and role != "choices"), key=_choice_place)
    places = [_choice_place(role) for role in choices]
    if places != list(range(1, len(places) + 1)):
        # A label names an option by its number: with a gap or a zero it would name another one than it says.
        raise ConfigError(
            f"{path} numbers its options {', '.join(map(str, places))}",
            hint=f"they must be 1, 2, 3, … without a gap; name them with {flag} choice1=COLUMN,choice2=COLUMN",
        )
    missing = [role for role in ("passage", "question") if role not in roles]
    if not choices and "choices" not in roles:
        missing.append("choice1, choice2, …")
    if missing:
        raise ConfigError(
            f"{path} has no column for {' and '.join(missing)}; its columns are {columns}",
            hint=f"name it with {flag} {missing[0].split(',')[0]}=COLUMN",
        )
    ordered = [role for role in ("id", "passage", "question") if role in roles] + choices
    return {role: roles[role] for role in [*ordered, *(role for role in roles if role not in ordered)]}


def _role_of(column: str) -> str | None:
    name = normalised(column)
    for role, names in _NAMES.items():
        if name in names:
            return role
    found = _CHOICE_NAME.match(name)
    if found:
        return f"choice{found[1] or ord(found[2]) - ord('a') + 1}"
    return None


def _choice_place(role: str) -> int:
    return int("".join(filter(str.isdigit, role)))


def _read_row(
    number: int, cells: Mapping[str, Any], roles: Mapping[str, str], *, typed: bool, need_answers: bool
) -> SheetRow:
    warnings: list[str] = []
    broken: list[str] = []

    def text(cell: Any, what: str) -> str:
        if isinstance(cell, CellFault):
            broken.append(f"{what} holds {cell}")
            return ""
        written = cell_text(cell)
        if not _is_unicode(written):
            broken.append(f"{what} holds half of a surrogate pair")
            written = written.encode("utf-8", "replace").decode()
        if without_control(written) != written:
            warnings.append(f"control characters removed from {what}")
        return written.strip()

    identity = text(cells[roles["id"]], "the ID") if "id" in roles else str(number)
    passage = text(cells[roles["passage"]], "the passage")
    asked = text(cells[roles["question"]], "the question")
    choices = tuple(text(cell, f"option {place}") for place, cell in enumerate(_choice_cells(cells, roles), 1))
    label = cells[roles["answer"]] if "answer" in roles else None
    explanation = (
        without_control(text(cells[roles["explanation"]], "the explanation")) if "explanation" in roles else ""
    )
    source = _source(cells)

    def row(question: Question | None, error: str = "", *, normalised: bool = False) -> SheetRow:
        return SheetRow(
            number, identity or str(number), question, error, tuple(warnings), normalised, explanation, source, cells
        )  # fmt: skip

    error = broken[0] if broken else _fault(passage, asked, choices)
    if error:
        return row(None, error)
    warnings += _option_warnings(choices)
    try:
        place, normalised = _label_place(label, choices, typed=typed)
    except ValueError as fault:
        if need_answers:
            return row(None, f"the label {fault}" if label is not None else "the label is missing")
        if label is not None:
            warnings.append(f"the label {fault}")
        return row(Question(passage, asked, choices))
    return row(Question(passage, asked, choices, place), normalised=normalised)


def _source(cells: Mapping[str, Any]) -> str:
    named = (cell for column, cell in cells.items() if normalised(column) in SOURCE)
    return next((cell_text(cell).strip() for cell in named if cell is not None and not isinstance(cell, CellFault)), "")


def _choice_cells(cells: Mapping[str, Any], roles: Mapping[str, str]) -> list[Any]:
    if "choices" not in roles:
        return [cells[column] for role, column in roles.items() if role.startswith("choice")]
    listed = cells[roles["choices"]]
    return list(listed) if isinstance(listed, (list, tuple)) else []


def _label_place(label: Any, choices: tuple[str, ...], *, typed: bool) -> tuple[int, bool]:
    if label is None:
        raise ValueError("is missing")
    place, normalised = parse_label(label, len(choices))
    if not choices[place - 1]:
        raise ValueError(f"'{cell_text(label)}' names a blank option")
    # In a csv every cell is text: `2` is there what the number 2 is in a workbook.
    return place, normalised and (typed or str(label).strip() != str(place))


def _fault(passage: str, asked: str, choices: tuple[str, ...]) -> str:
    if not passage:
        return "the passage is missing"
    if not asked:
        return "the question is missing"
    if len([choice for choice in choices if choice]) < 2:
        return "fewer than two options"
    if len(choices) > MAX_CHOICES:
        return f"more than {MAX_CHOICES} options"
    return ""


def _option_warnings(choices: tuple[str, ...]) -> list[str]:
    warnings = [f"option {place} is blank" for place, choice in enumerate(choices, 1) if not choice]
    filled = [choice for choice in choices if choice]
    repeated = [str(place) for place, choice in enumerate(choices, 1) if choice and filled.count(choice) > 1]
    return warnings + ([f"options {' and '.join(repeated)} are the same"] if repeated else [])


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # JSON can spell half of a pair: "\\ud83d"
        return False
    return True
