"""What Hugging Face's `datasets` keeps on a disk, streamed: folders of `save_to_disk`, arrow and parquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.atomic import sha256_file, sha256_text
from configs.errors import ConfigError, require

SUFFIXES = (".arrow", ".parquet")
_STATE, _SPLITS = "state.json", "dataset_dict.json"
_ROWS = 1000
"""Rows that are decoded at once."""


def is_saved(path: Path) -> bool:
    """Whether it is such a file or folder."""
    if path.is_dir():
        return (path / _STATE).is_file() or (path / _SPLITS).is_file()
    return path.suffix.lower() in SUFFIXES


def saved_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows, one after another.

    Raises:
        ConfigError: the folder holds several splits, or something is missing or damaged.
        MachineError: the reader is not installed.
    """
    files = _files(path)
    pyarrow = require("pyarrow", "train")
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _arrow_rows(files)
    try:
        yield from rows
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path} is damaged: {told}", hint="save or download it again") from error


def saved_sha256(path: Path) -> str:
    """Hash of the file, or over the hashes of the folder's files."""
    if path.is_file():
        return sha256_file(path)
    return sha256_text("\n".join(sha256_file(file) for file in _files(path)))


def _files(path: Path) -> list[Path]:
    """The files that hold the rows, in order."""
    if not path.is_dir():
        return [path]
    if (path / _SPLITS).is_file():
        splits = ", ".join(sorted(part.name for part in path.iterdir() if part.is_dir()))
        raise ConfigError(f"{path} holds several splits: {splits}", hint=f"name one of them, {path}/SPLIT")
    try:
        state = json.loads((path / _STATE).read_text(encoding="utf-8"))
        files = [path / Path(part["filename"]).name for part in state["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path / _STATE} is damaged", hint="save the dataset again") from error
    missing = next((file.name for file in files if not file.is_file()), None)
    if missing or not files:
        raise ConfigError(f"{path} lacks its {missing or 'rows'}", hint="save the dataset again")
    return files


def _arrow_rows(files: list[Path]) -> Iterator[dict[str, Any]]:
    datasets = require("datasets", "train")
    names = [str(file) for file in files]
    yield from datasets.load_dataset("arrow", data_files={"train": names}, split="train", streaming=True)


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    # `datasets` would decode a whole row group first: often a million rows, and three times the file in memory.
    parquet = require("pyarrow.parquet", "train")
    with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            yield from batch.to_pylist()
