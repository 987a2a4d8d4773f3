"""The dataset folder: train.jsonl, validation.jsonl, dataset.json, rejected.csv."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
TOKENS_FOLDER = "tokens"
"""Ids of raw text that `fit` keeps for its next run."""
REJECTED_COLUMNS = ("file", "row", "id", "reason", "question")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of train.jsonl or validation.jsonl."""

    id: str
    messages: tuple[Message, ...]
    """The conversation; empty where the row is raw text."""
    question: Question | None = None
    """The exam question behind the messages, where there is one."""
    explanation: str = ""
    """Why the answer of the exam question is right."""
    source: str = ""
    """Where the exam question comes from."""
    text: str = ""
    """Raw text, for continued pre-training."""

    @property
    def asked(self) -> str:
        """The text, or the first message of the user."""
        return self.text or next(part["content"] for part in self.messages if part["role"] == "user")

    @property
    def characters(self) -> int:
        """Length of the text, or of all messages."""
        return len(self.text) + sum(len(part["content"]) for part in self.messages)

    def to_json(self) -> str:
        """The record as one line of JSON, without the line end."""
        record: dict[str, Any] = {"id": self.id}
        record |= {"text": self.text} if self.text else {"messages": list(self.messages)}
        if self.question:
            asked = self.question
            record["exam"] = {
                "passage": asked.passage,
                "question": asked.question,
                "choices": list(asked.choices),
                "answer": asked.answer,
                **({"explanation": self.explanation} if self.explanation else {}),
                **({"source": self.source} if self.source else {}),
            }
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Row:
        """Read one line; KeyError, TypeError or ValueError where it is no record."""
        record = json.loads(line)
        if "text" in record:
            return cls(str(record["id"]), (), text=str(record["text"]))
        exam = record.get("exam")
        question = None
        if exam:
            question = Question(exam["passage"], exam["question"], tuple(exam["choices"]), exam["answer"])
        messages = tuple({"role": part["role"], "content": part["content"]} for part in record["messages"])
        about = {key: str(exam.get(key, "")) for key in ("explanation", "source")} if exam else {}
        return cls(str(record["id"]), messages, question, **about)


class RowFile:
    """The rows of train.jsonl or validation.jsonl, read from the file whenever they are gone through."""

    def __init__(self, path: Path, rows: int, sha256: str) -> None:
        self.sha256 = sha256
        """Of the file."""
        self._path = path
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Row]:
        """All rows in order; ConfigError names the line that is no record."""
        with self._path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield Row.from_json(line)
                except (KeyError, TypeError, ValueError) as error:
                    raise ConfigError(f"{self._path} line {number} is not a training record: {error}") from error


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset folder as `fit` reads it."""

    train: RowFile
    validation: RowFile
    formats: Formats
    sha256: str
    """Hash over both row files and the formats: what a training run depends on."""


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
    """Open a dataset folder.

    Raises:
        ConfigError: it is missing, damaged or was changed after `prepare`, or has no training rows.
    """
    meta = read_meta(folder)
    sha256 = dataset_sha256(folder, meta)
    train, validation = (
        RowFile(folder / name, meta[side], meta["files"][name])
        for name, side in ((TRAIN_FILE, "train"), (VALIDATION_FILE, "validation"))
    )
    if not train:
        raise ConfigError(f"{folder} has no training rows", hint=f"see {folder / REJECTED_FILE}")
    return Dataset(train, validation, Formats.from_toml(meta["formats"], str(folder / DATASET_FILE)), sha256)
