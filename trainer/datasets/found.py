"""What a reader finds in a source, row by row: a record to train on, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jinja2 import TemplateError

from configs.entity import EntityFormat
from configs.exam import QuestionFormat, without_control
from configs.prompt import Message
from configs.records import cell_text
from configs.sheets import Sheet
from configs.workbook_marks import CellFault
from trainer.datasets.conversations import chat_messages, instruction_messages, plain_text
from trainer.datasets.folder import Row
from trainer.datasets.kinds import CHAT, ENTITIES, INSTRUCTION, TEXT, Kind, Roles, assign
from trainer.datasets.reading import Record, SourceFile

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Found:
    """One row of a source."""

    number: int
    """Place in the source, counted from 1."""
    row: Row | None
    """None where there is a reason to leave it out."""
    id: str = ""
    asked: str = ""
    """What the row asks or says, for the list of rows left out."""
    reason: str = ""
    tallies: Mapping[str, int] = field(default_factory=dict)
    """What was noticed, to be added up over all rows: `labels_normalised`, `blank_options`, `turns_cut`."""
    entity_types: tuple[str, ...] = ()
    text: str = ""
    """The text that the row is about, where its question has words of its own around it."""


def exam_rows(sheet: Sheet, question_format: QuestionFormat) -> Iterator[Found]:
    """The questions of a sheet."""
    for row in sheet.rows:
        question, reason = row.question, row.error
        tallies = {"labels_normalised": int(row.label_normalised)}
        asked = question.question if question else _said(row.raw or {}, sheet.columns["question"])
        if question and not reason:
            tallies["blank_options"] = sum(not choice.strip() for choice in question.choices)
            if question.answer is None:
                reason = "no answer"
            elif not question.choices[question.answer - 1].strip():
                reason = "the right option is blank"
            elif len(question.choices) > len(question_format.labels):
                reason = (
                    f"{len(question.choices)} options, the question format has {len(question_format.labels)} labels"
                )
        record = None
        if question and not reason:
            messages = tuple(question_format.messages(question))
            record = Row(row.id, messages, question, row.explanation, row.source)
        yield Found(row.number, record, row.id, asked, reason, tallies)


def _said(cells: Mapping[str, Any], column: str) -> str:
    """What a row that is no question asks, as far as it can be shown."""
    cell = cells.get(column)
    return "" if isinstance(cell, CellFault) else _shown(cell_text(cell).strip())


def _shown(text: str) -> str:
    return text[:_SHOWN_CHARACTERS].encode("utf-8", "replace").decode()


def record_rows(
    source: SourceFile,
    kind: Kind,
    given: Mapping[str, str],
    entity_format: EntityFormat | None,
    seen: dict[str, None],
) -> Iterator[Found]:
    """The records of any other kind.

    Args:
        given: column -> role, as the user named them.
        seen: the columns of the first record; those that later ones bring are added.

    Raises:
        ConfigError: a record has a column that is not known.
    """
    make = _maker(kind, entity_format)
    roles = assign(kind, tuple(seen), given, str(source.path))
    for record in source.records():
        if not record.cells.keys() <= seen.keys():
            seen |= dict.fromkeys(record.cells)
            roles = assign(kind, tuple(seen), given, f"{source.path} record {record.number}")
        yield _found(record, roles, make)


_Maker = Callable[[Mapping[str, Any], str], Found]


def _found(record: Record, roles: Roles, make: _Maker) -> Found:
    cells = {role: record.cells.get(column) for role, column in roles.items()}
    identity = str(record.number)
    try:
        if record.error:
            raise ValueError(record.error)
        identity = plain_text(cells.get("id"), "the ID").strip() or identity
        return replace(make(cells, identity), number=record.number)
    except ValueError as error:
        said = next((str(cell) for role, cell in cells.items() if role != "id" and cell), "")
        return Found(record.number, None, identity, _shown(said), str(error))


def _maker(kind: Kind, entity_format: EntityFormat | None) -> _Maker:
    """What makes a row of a record's cells and ID; ValueError says why it cannot."""
    if kind is ENTITIES:
        assert entity_format is not None
        return lambda cells, id_: _entities(cells, id_, entity_format)
    return {CHAT.name: _chat, INSTRUCTION.name: _instruction, TEXT.name: _text}[kind.name]


def _instruction(cells: Mapping[str, Any], id_: str) -> Found:
    return _of(Row(id_, _clean(instruction_messages(cells))))


def _chat(cells: Mapping[str, Any], id_: str) -> Found:
    messages, cut = chat_messages(cells)
    return replace(_of(Row(id_, _clean(messages))), tallies={"turns_cut": cut})


def _text(cells: Mapping[str, Any], id_: str) -> Found:
    text = without_control(plain_text(cells.get("text"), "the text")).strip()
    if not text:
        raise ValueError("no text")
    return _of(Row(id_, (), text=text))


def _entities(cells: Mapping[str, Any], id_: str, entity_format: EntityFormat) -> Found:
    text = plain_text(cells.get("text"), "the text").strip()
    listed = cells.get("entities")
    if not text:
        raise ValueError("no text")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ValueError("the entities are not a list of objects")
    pairs = []
    for one in listed:
        if "entity" not in one or "entity_type" not in one:
            raise ValueError(f"an entity has {', '.join(one) or 'no fields'} instead of entity and entity_type")
        pairs.append((plain_text(one["entity"], "an entity").strip(), cell_text(one["entity_type"])))
    absent = next((entity for entity, _ in pairs if not entity or entity not in text), None)
    if absent is not None:
        raise ValueError(f"the entity '{absent}' is not in the text")
    try:
        messages = entity_format.messages(text, pairs)
    except TemplateError as error:
        raise ValueError(f"the question cannot be written: {error}") from error
    found = _of(Row(id_, _clean(messages)))
    return replace(found, entity_types=tuple(entity_format.types[kind] for _, kind in pairs), text=text)


def _of(row: Row) -> Found:
    return Found(0, row, row.id, row.asked[:_SHOWN_CHARACTERS])


def _clean(messages: list[Message]) -> tuple[Message, ...]:
    return tuple({**message, "content": without_control(message["content"])} for message in messages)
