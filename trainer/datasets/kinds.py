"""The kinds of data, and which column of a file is what: known names, names that the user gives, and no guesses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from configs import column_names
from configs.errors import ConfigError

Roles = dict[str, str]
"""Role -> column."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of data that is not an exam sheet: its roles and the names that columns of each go by."""

    name: str
    roles: Mapping[str, tuple[str, ...]]
    required: tuple[tuple[str, ...], ...]
    """Of each of these sets of roles at least one column must be there."""
    accepts: Callable[[Mapping[str, Any]], bool] = field(default=lambda _cells: True)
    """Whether the first record's cells, by role, can be of this kind."""

    @property
    def names(self) -> str:
        """The known names, for error sentences."""
        return "; ".join(f"{role}: {', '.join(names)}" for role, names in self.roles.items())


CHAT = Kind(
    "chat",
    {
        "messages": column_names.MESSAGES,
        "input": ("input",),
        "output": ("output",),
        "system": column_names.SYSTEM,
        "id": column_names.ID,
    },
    (("messages", "input"), ("messages", "output")),
    lambda cells: isinstance(cells.get("messages") or cells.get("input"), list),
)
ENTITIES = Kind(
    "entities",
    {"text": ("text", "文本"), "entities": column_names.ENTITIES, "id": column_names.ID},
    (("text",), ("entities",)),
)
INSTRUCTION = Kind(
    "instruction",
    {
        "instruction": column_names.INSTRUCTION,
        "input": column_names.INPUT,
        "output": column_names.OUTPUT,
        "system": column_names.SYSTEM,
        "id": column_names.ID,
    },
    (("instruction", "input"), ("output",)),
    lambda cells: not isinstance(cells.get("input"), list),
)
TEXT = Kind("text", {"text": column_names.TEXT, "id": column_names.ID}, (("text",),))

KINDS = {kind.name: kind for kind in (CHAT, ENTITIES, INSTRUCTION, TEXT)}
EXAM = "exam"
NAMES = (EXAM, *KINDS)

_EXAM_COLUMN = re.compile(r"^(exam|choices|選項|选项|options?|choice)[\s_]*(\d{1,2}|[a-z])?$")


def parse_columns(text: str) -> dict[str, str]:
    """Parse `instruction=任務,input=內容,ignore=備註` into column -> role.

    Raises:
        ConfigError: a part without `=`, or a column that is named twice.
    """
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, sign, column = (word.strip() for word in part.partition("="))
        if not sign or not column or not role or column in given:
            raise ConfigError(f"'{part}' in --columns is not ROLE=COLUMN, one for each column")
        given[column] = role
    return given


def detect(first: Mapping[str, Any], columns: tuple[str, ...], given: Mapping[str, str], file: str) -> str:
    """Name of the kind whose columns these are.

    Raises:
        ConfigError: of none.
    """
    words = [given.get(column, column_names.normalised(column)) for column in columns]
    if any(_EXAM_COLUMN.match(word) for word in words):
        return EXAM
    for kind in KINDS.values():
        if _is_of(kind, first, columns, given):
            return kind.name
    raise ConfigError(
        f"cannot tell what {file} holds from its columns {', '.join(columns)}",
        hint=f"say so with --format {'|'.join(NAMES)}, and name columns with --columns ROLE=COLUMN",
    )


def assign(kind: Kind, columns: tuple[str, ...], given: Mapping[str, str], file: str) -> Roles:
    """Role -> column.

    Raises:
        ConfigError: a role that does not exist, an unknown column, two for one role, or none for a
            required one.
    """
    for column, role in given.items():
        if role != "ignore" and role not in kind.roles:
            raise ConfigError(
                f"--columns {role}={column}: data of the format {kind.name} has no role '{role}'",
                hint=f"the roles are {', '.join(kind.roles)}, ignore",
            )
    roles: Roles = {}
    for column in columns:
        role = given.get(column) or _role(kind, column)
        if not role:
            raise ConfigError(
                f"{file} has the unknown column '{column}' for the format {kind.name}",
                hint=f"--columns ROLE={column} or --columns ignore={column}; known names: {kind.names}",
            )
        if role == "ignore":
            continue
        if role in roles:
            raise ConfigError(
                f"{file} has two columns for {role}: '{roles[role]}' and '{column}'",
                hint=f"--columns ignore={column} leaves one out",
            )
        roles[role] = column
    for one_of in kind.required:
        if not any(role in roles for role in one_of):
            raise ConfigError(
                f"{file} has no column for {' or '.join(one_of)}; its columns are {', '.join(columns)}",
                hint=f"name it with --columns {one_of[0]}=COLUMN; known names: {kind.names}",
            )
    return roles


def _role(kind: Kind, column: str) -> str:
    word = column_names.normalised(column)
    named = next((role for role, names in kind.roles.items() if word in names), "")
    return named or ("ignore" if word in column_names.SOURCE else "")


def _is_of(kind: Kind, first: Mapping[str, Any], columns: tuple[str, ...], given: Mapping[str, str]) -> bool:
    """Whether the columns, apart from unknown ones, make this kind: `assign` names the unknown ones."""
    taken = {given.get(column) or _role(kind, column): column for column in columns}
    if kind is TEXT and "" in taken:  # a column of that name says little where others are unknown
        return False
    if not all(any(role in taken for role in one_of) for one_of in kind.required):
        return False
    return kind.accepts({role: first.get(column) for role, column in taken.items()})
