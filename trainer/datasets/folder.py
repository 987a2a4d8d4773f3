"""The dataset folder: train.jsonl, validation.jsonl, dataset.json, rejected.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.atomic import sha256_file, sha256_text
from configs.errors import ConfigError
from configs.exam import Question
from configs.formats import Formats
from configs.prompt import Message

TRAIN_FILE = "train.jsonl"
VALIDATION_FILE = "validation.jsonl"
DATASET_FILE = "dataset.json"
REJECTED_FILE = "rejected.csv"
REJECTED_COLUMNS = ("file", "row", "id", "reason", "question")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of train.jsonl or validation.jsonl."""

    id: str
    messages: tuple[Message, ...]
    question: Question | None = None
    """The exam question behind the messages, where there is one."""

    def to_json(self) -> str:
        """The record as one line of JSON, without the line end."""
        record: dict[str, Any] = {"id": self.id, "messages": list(self.messages)}
        if self.question:
            asked = self.question
            record["exam"] = {
                "passage": asked.passage,
                "question": asked.question,
                "choices": list(asked.choices),
                "answer": asked.answer,
            }
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Row:
        """Read one line; KeyError, TypeError or ValueError where it is no record."""
        record = json.loads(line)
        exam = record.get("exam")
        question = None
        if exam:
            question = Question(exam["passage"], exam["question"], tuple(exam["choices"]), exam["answer"])
        messages = tuple({"role": part["role"], "content": part["content"]} for part in record["messages"])
        return cls(str(record["id"]), messages, question)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of a sheet that was left out, and why."""

    file: str
    row: int
    id: str
    reason: str
    question: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset folder as `fit` reads it."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    formats: Formats
    sha256: str
    """Hash over both row files and the formats: what a training run depends on."""


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON record a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(row.to_json() + "\n" for row in rows)


def write_rejected(path: Path, rejected: Sequence[Rejected]) -> None:
    """Write the rows left out as a CSV for people: UTF-8 with BOM, CRLF, minimal quoting."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(REJECTED_COLUMNS)
        writer.writerows((entry.file, entry.row, entry.id, entry.reason, entry.question) for entry in rejected)


def read_meta(folder: Path) -> dict[str, Any]:
    """dataset.json of a dataset folder.

    Raises:
        ConfigError: the folder does not exist or is not a dataset folder.
    """
    path = folder / DATASET_FILE
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder", hint="make a dataset with `trainer prepare`")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} has no {DATASET_FILE}", hint="make it with `trainer prepare`") from error
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}", hint="`trainer prepare --overwrite` makes it again") from error
    if not isinstance(meta, dict) or "formats" not in meta:
        raise ConfigError(f"{path} was not written by `trainer prepare`")
    return meta


def dataset_sha256(folder: Path, meta: dict[str, Any]) -> str:
    """Check both row files against dataset.json and return the hash of all that a run depends on.

    Raises:
        ConfigError: a row file is missing or was changed after `prepare`.
    """
    recorded = meta.get("files", {})
    for name in (TRAIN_FILE, VALIDATION_FILE):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} has no {name}", hint="`trainer prepare --overwrite` makes it again")
        if sha256_file(folder / name) != recorded.get(name):
            raise ConfigError(f"{folder / name} is not the file that `trainer prepare` wrote", hint="run it again")
    return content_sha256(recorded, meta["formats"])


def content_sha256(row_files: Mapping[str, str], formats: str) -> str:
    """Hash over the hashes of the row files and the text of the formats."""
    return sha256_text("\n".join([row_files[TRAIN_FILE], row_files[VALIDATION_FILE], formats]))


def read_dataset(folder: Path) -> Dataset:
    """Read a dataset folder whole.

    Raises:
        ConfigError: it is missing, damaged or was changed after `prepare`, or has no training rows.
    """
    meta = read_meta(folder)
    sha256 = dataset_sha256(folder, meta)
    train, validation = read_rows(folder / TRAIN_FILE), read_rows(folder / VALIDATION_FILE)
    if not train:
        raise ConfigError(f"{folder} has no training rows", hint=f"see {folder / REJECTED_FILE}")
    return Dataset(train, validation, Formats.from_toml(meta["formats"], str(folder / DATASET_FILE)), sha256)


def read_rows(path: Path) -> tuple[Row, ...]:
    """Read a row file; ConfigError names the line that is no record."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                rows.append(Row.from_json(line))
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError(f"{path} line {number} is not a training record: {error}") from error
    return tuple(rows)
