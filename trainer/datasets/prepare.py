"""`trainer prepare`: sheets -> dataset folder, staged and fingerprinted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done, sha256_file, sha256_text, staged_folder
from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.formats import Formats
from configs.prompt import PromptFormat
from configs.sheets import Sheet
from trainer.datasets.exam import Harvest, harvest, read_sheets
from trainer.datasets.folder import (
    DATASET_FILE,
    REJECTED_FILE,
    TRAIN_FILE,
    VALIDATION_FILE,
    Row,
    content_sha256,
    dataset_sha256,
    read_meta,
    write_rejected,
    write_rows,
)
from trainer.datasets.split import validation_places


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """What `trainer prepare` was told."""

    sheets: tuple[Path, ...]
    output: Path
    prompt_format: str = "alpaca2"
    question_format: str = "formosa"
    validation: float = 0.2
    seed: int = 0
    convert: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    """Of the sheets that are text; empty finds it out."""
    overwrite: bool = False

    def formats(self) -> Formats:
        """The formats that the dataset is rendered in and carries with it."""
        question = QuestionFormat.load(self.question_format)
        return Formats(
            PromptFormat.load(self.prompt_format), question.with_convert(self.convert) if self.convert else question
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset folder and its dataset.json; `made` is False where it stood there already."""

    meta: dict[str, Any]
    sheets: tuple[tuple[Path, Sheet], ...]
    made: bool


def prepare(options: PrepareOptions) -> Prepared:
    """Read the sheets, split them by passage and write the dataset folder.

    Raises:
        ConfigError: a bad sheet, format or share; an output made from other inputs; or no row to train on.
    """
    if not 0 <= options.validation < 1:
        raise ConfigError(f"--validation {options.validation}: expected a share from 0 to below 1")
    formats = options.formats()
    for path in options.sheets:
        if not path.is_file():
            raise ConfigError(f"{path} is a folder" if path.is_dir() else f"{path} does not exist", hint="name a sheet")
    fingerprint = _fingerprint(options, formats)
    own = (TRAIN_FILE, VALIDATION_FILE, DATASET_FILE, REJECTED_FILE)
    recorded = _recorded(options.output)
    if output_is_done(options.output, recorded=recorded, wanted=fingerprint, overwrite=options.overwrite, own=own):
        return Prepared(read_meta(options.output), (), made=False)
    sheets = read_sheets(options.sheets, options.columns or None, options.encoding)
    question_format = formats.question
    assert question_format is not None
    gathered = harvest(sheets, question_format)
    if not gathered.rows:
        first = gathered.rejected[0].reason if gathered.rejected else "the sheets are empty"
        raise ConfigError(f"none of the {gathered.read} rows can be trained on; the first: {first}")
    meta = _write(options, formats, gathered, sheets, fingerprint)
    return Prepared(meta, tuple(sheets), made=True)


def _write(
    options: PrepareOptions,
    formats: Formats,
    gathered: Harvest,
    sheets: Sequence[tuple[Path, Sheet]],
    fingerprint: str,
) -> dict[str, Any]:
    train, validation = _split(gathered.rows, options.validation, options.seed)
    if not train:
        raise ConfigError(f"--validation {options.validation} leaves no row to train on", hint="choose a smaller share")
    with staged_folder(options.output) as folder:
        write_rows(folder / TRAIN_FILE, train)
        write_rows(folder / VALIDATION_FILE, validation)
        write_rejected(folder / REJECTED_FILE, gathered.rejected)
        row_files = {name: sha256_file(folder / name) for name in (TRAIN_FILE, VALIDATION_FILE)}
        formats_text = formats.to_toml()
        meta = {
            "format": "exam",
            "sources": [
                {"file": path.name, "sha256": sheet.sha256, "rows": len(sheet.rows), "columns": sheet.columns}
                for path, sheet in sheets
            ],
            "prompt_format": formats.prompt.name,
            "question_format": formats.question.name if formats.question else None,
            "convert": options.convert,
            "validation_share": options.validation,
            "seed": options.seed,
            "rows": gathered.read,
            "train": len(train),
            "validation": len(validation),
            "rejected": len(gathered.rejected),
            "labels_normalised": gathered.labels_normalised,
            "blank_options": gathered.blank_options,
            "duplicates": gathered.duplicates,
            "files": row_files,
            "sha256": content_sha256(row_files, formats_text),
            "fingerprint": fingerprint,
            "formats": formats_text,
        }
        (folder / DATASET_FILE).write_text(json.dumps(meta, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return meta


def _split(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    passages = [row.question.passage if row.question else row.id for row in rows]
    chosen = validation_places(passages, share, seed)
    train = [row for place, row in enumerate(rows) if place not in chosen]
    return train, [row for place, row in enumerate(rows) if place in chosen]


def _fingerprint(options: PrepareOptions, formats: Formats) -> str:
    inputs = {
        "sheets": [(path.name, sha256_file(path)) for path in options.sheets],
        "formats": formats.to_toml(),
        "validation": options.validation,
        "seed": options.seed,
        "columns": dict(options.columns),
        "encoding": options.encoding,
    }
    return sha256_text(json.dumps(inputs, ensure_ascii=False, sort_keys=True))


def _recorded(folder: Path) -> str | None:
    """What the folder says it was made from; None where it is no dataset, or not whole any more."""
    try:
        meta = read_meta(folder)
        dataset_sha256(folder, meta)
        return str(meta["fingerprint"])
    except (ConfigError, OSError, KeyError):
        return None
