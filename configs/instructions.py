"""Instructions, dialogues, named entities and plain lines -> what to ask a model, and the reply that is known.

{"instruction": …, "input": …, "output": …}     joined by a line break; also instruct, query, answer, …
{"messages": [{"role": …, "content": …}, …]}    a last message of the assistant is the known reply
{"conversations": [{"from": "human", …}, …]}    the same in ShareGPT's words
{"input": [a, b], "output": [x, y]}             turns; the last reply is the known one
{"text": …, "entity_list": [{"entity": …, "entity_type": …}]}     asked in the words of an entity format
a line of text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from configs import column_names
from configs.atomic import sha256_file
from configs.conversations import Entity, conversation, read_entities
from configs.encodings import decode_file
from configs.entity import EntityFormat
from configs.errors import ConfigError
from configs.exam import without_control
from configs.prompt import Message, check_roles
from configs.records import cell_text, parse_json, read_table

_NAMES = {
    "id": column_names.ID,
    "system": column_names.SYSTEM,
    "instruction": column_names.INSTRUCTION,
    "input": (*column_names.INPUT, *column_names.TEXT),
    "output": column_names.OUTPUT,
    "messages": column_names.MESSAGES,
    "entities": column_names.ENTITIES,
    "ignore": ("exam", *column_names.SOURCE),
}
_LINES = ".txt"
_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Record:
    """What to ask, or why this record cannot be asked."""

    number: int
    """Place in the file, counted from 1; blank lines do not count."""
    id: str
    messages: tuple[Message, ...]
    """[system] user assistant … user; empty if there is an `error`."""
    references: tuple[str, ...] = ()
    """Known replies; several are alternatives."""
    entities: tuple[Entity, ...] | None = None
    """The entities in the text, where the record lists them."""
    error: str = ""

    @property
    def asked(self) -> str:
        """The last message."""
        return self.messages[-1]["content"] if self.messages else ""


@dataclass(frozen=True, slots=True)
class Records:
    """A file of records, every one of it."""

    rows: list[Record]
    sha256: str
    notes: tuple[str, ...] = ()
    """Sentences a person should read: which encoding was taken."""
    entities_worded: bool = False
    """The texts are asked about in the words of the entity format."""


def parse_roles(text: str) -> dict[str, str]:
    """Parse `instruction=任務,input=內容,ignore=備註` into column -> role.

    Raises:
        ConfigError: an unknown role or a part without `=`.
    """
    roles: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, sign, column = (word.strip() for word in part.partition("="))
        if not sign or not column or role not in _NAMES:
            raise ConfigError(f"'{part}' in the column list is not ROLE=COLUMN", hint=f"roles: {', '.join(_NAMES)}")
        roles[column] = role
    return roles


def read_records(
    path: Path,
    *,
    roles: Mapping[str, str] | None = None,
    instruction: str = "",
    entity_format: EntityFormat | None = None,
    encoding: str = "",
    flag: str = "--input-columns",
) -> Records:
    """Read a file of records: json, jsonl, csv, tsv, xlsx, or txt with a record or a text on each line.

    Args:
        roles: column -> role named by the user (see `parse_roles`); the others are recognised by name.
        instruction: put before every input that has no instruction of its own.
        entity_format: how the entities of a text are asked for, where the file lists entities and has no instruction;
            None leaves the bare text.
        encoding: of a text file; empty finds it out.
        flag: the flag that names columns, for the remedies.

    Raises:
        ConfigError: the file cannot be read, or a column means nothing.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="give the file")
    cells: Sequence[Any]
    notes: tuple[str, ...]
    if path.suffix.lower() in (_LINES, ".jsonl"):
        decoded = decode_file(path, encoding)
        cells, notes = _lines(decoded.text, path), (decoded.note,) if decoded.note else ()
    else:
        table = read_table(path, encoding=encoding)
        cells, notes = table.rows, table.notes
    if not cells:
        raise ConfigError(f"{path} is empty")
    known = _roles_of(cells, roles or {}, path, flag)
    listed = "entities" in known.values() and "instruction" not in known.values() and not instruction
    worded = entity_format if listed else None
    rows = [_record(number, row, known, instruction, worded) for number, row in enumerate(cells, 1)]
    return Records(rows, sha256_file(path), notes, entities_worded=worded is not None)


def _lines(text: str, path: Path) -> list[Any]:
    """One value a line: objects, or texts, or the ValueError of a line that should have been an object."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    objects = sum(line.startswith("{") and line.endswith("}") for line in lines)
    if path.suffix.lower() == _LINES and 2 * objects <= len(lines):  # most decide: one damaged record is no text
        return lines
    values: list[Any] = []
    for line in lines:
        try:
            value = parse_json(line)
            values.append(value if isinstance(value, dict) else ValueError("not an object with named fields"))
        except (ValueError, RecursionError) as error:
            values.append(ValueError(f"not valid JSON: {error}"))
    return values


def _roles_of(cells: Sequence[Any], given: Mapping[str, str], path: Path, flag: str) -> dict[str, str]:
    """Column -> role."""
    columns: dict[str, int] = {}
    for number, row in enumerate(cells, 1):
        for column in row if isinstance(row, dict) else ():
            columns.setdefault(column, number)
    for column in given:
        if column not in columns:
            raise ConfigError(
                f"{path} has no column '{column}'", hint=f"its columns are {', '.join(map(_shown, columns))}"
            )
    roles: dict[str, str] = {}
    for column, number in columns.items():
        name = column_names.normalised(column)
        role = given.get(column) or next((role for role, names in _NAMES.items() if name in names), None)
        if role is None:
            raise ConfigError(
                f"{path}: record {number} has the unknown column '{_shown(column)}'",
                hint=f"say what it is: {flag} ROLE={_shown(column)}, or ignore={_shown(column)}",
            )
        if role != "ignore" and role in roles.values():
            raise ConfigError(
                f"{path}: record {number} has a second column for {role}: '{_shown(column)}'",
                hint=f"{flag} ignore={_shown(column)}",
            )
        roles[column] = role
    if columns and not {"input", "instruction", "messages"} & set(roles.values()):
        raise ConfigError(
            f"{path} has nothing to ask; its columns are {', '.join(map(_shown, columns))}",
            hint=f"{flag} input=COLUMN",
        )
    return roles


def _shown(column: str) -> str:
    """A column's name in a sentence: one line of it, and not too long."""
    name = without_control(" ".join(column.split()))
    return name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}…"


def _record(
    number: int, cells: Any, roles: Mapping[str, str], instruction: str, entity_format: EntityFormat | None
) -> Record:
    if isinstance(cells, ValueError):
        return Record(number, str(number), (), error=str(cells))
    if isinstance(cells, str):
        cells, roles = {"input": cells}, {"input": "input"}
    values = {role: cells.get(column) for column, role in roles.items() if role != "ignore"}
    identity = cell_text(values.get("id")).strip() or str(number)
    try:
        if entity_format and values.get("input") is not None:
            values["input"] = entity_format.question(cell_text(values["input"]).strip())
        messages, references = conversation(values, instruction)
        check_roles(messages)
        entities = read_entities(values["entities"]) if values.get("entities") is not None else None
    except (ValueError, ConfigError, TemplateError) as error:
        return Record(number, identity, (), error=str(error))
    return Record(number, identity, tuple(messages), references, entities)
