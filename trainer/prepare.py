"""`trainer prepare`: files of any kind -> dataset folder, in two passes, staged and fingerprinted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done, sha256_file, sha256_text, staged_folder
from configs.errors import ConfigError
from trainer.datasets.folder import (
    DATASET_FILE,
    REJECTED_FILE,
    TOKENS_FOLDER,
    TRAIN_FILE,
    VALIDATION_FILE,
    content_sha256,
    dataset_sha256,
    read_meta,
)
from trainer.datasets.gather import Gathering
from trainer.datasets.kinds import parse_columns
from trainer.datasets.mixture import quotas
from trainer.datasets.selection import Selection
from trainer.datasets.sources import Source, check_given, open_sources
from trainer.datasets.wording import Wording
from trainer.token_measure import TokenMeasure

_OWN = (TRAIN_FILE, VALIDATION_FILE, DATASET_FILE, REJECTED_FILE, f"{TOKENS_FOLDER}/*")
_SPOOL = ".spool"


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """What `trainer prepare` was told."""

    sources: tuple[tuple[Path, Fraction | None], ...]
    """Files and their weights."""
    output: Path
    format: str = ""
    """Kind of all sources; empty finds it out for each."""
    prompt_format: str = "alpaca2"
    question_format: str = ""
    """Of exam questions, or the wording for entities; empty takes the kind's own."""
    validation: float = 0.2
    seed: int = 0
    convert: str = ""
    columns: str = ""
    encoding: str = ""
    """Of the sheets that are text; empty finds it out."""
    model: str = ""
    """Base model whose tokens are counted; empty counts none."""
    max_length: int = 0
    """Tokens that a row may have; 0 takes the default preset's."""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset folder and its dataset.json; `made` is False where it stood there already."""

    meta: dict[str, Any]
    notes: tuple[str, ...]
    """What a person should know about the files."""
    made: bool


def prepare(options: PrepareOptions) -> Prepared:
    """Read the sources, mix and split them, and write the dataset folder.

    Raises:
        ConfigError: a bad source, format, weight or share; an output made from other inputs; or no row to train on.
    """
    if not 0 <= options.validation < 1:
        raise ConfigError(f"--validation {options.validation}: expected a share from 0 to below 1")
    given = parse_columns(options.columns)
    sources = open_sources(options.sources, options.format, given, options.encoding)
    kinds = sorted({source.kind for source in sources})
    wording = Wording.of(kinds, options.prompt_format, options.question_format, options.convert)
    measure = TokenMeasure.of(options.model, options.max_length, wording.formats)
    fingerprint = _fingerprint(options, sources, given, wording, measure)
    recorded = _recorded(options.output)
    if output_is_done(options.output, recorded=recorded, wanted=fingerprint, overwrite=options.overwrite, own=_OWN):
        return Prepared(read_meta(options.output), (), made=False)
    with staged_folder(options.output) as folder:
        with Gathering(folder / _SPOOL, folder / REJECTED_FILE, measure) as gathering:
            for source in sources:
                gathering.take(source.file.path.name, source.rows(wording.formats.question, wording.entities))
            check_given(sources, given)
            selection = _select(options, sources, gathering)
            selection.write(folder / TRAIN_FILE, folder / VALIDATION_FILE)
        shutil.rmtree(folder / _SPOOL)
        row_files = {name: sha256_file(folder / name) for name in (TRAIN_FILE, VALIDATION_FILE)}
        formats_text = wording.formats.to_toml()
        meta = {
            "format": "+".join(kinds),
            "sources": [_told(source, selection, place) for place, source in enumerate(sources)],
            "prompt_format": wording.formats.prompt.name,
            "question_format": wording.formats.question.name if wording.formats.question else None,
            "entity_format": wording.entities.name if wording.entities else None,
            "convert": options.convert,
            "validation_share": options.validation,
            "seed": options.seed,
            **selection.report(),
            "max_length": measure.max_length if measure else None,
            "files": row_files,
            "sha256": content_sha256(row_files, formats_text),
            "fingerprint": fingerprint,
            "formats": formats_text,
        }
        (folder / DATASET_FILE).write_text(json.dumps(meta, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return Prepared(meta, tuple(note for source in sources for note in source.file.notes), made=True)


def _select(options: PrepareOptions, sources: Sequence[Source], gathering: Gathering) -> Selection:
    kept = [counts.kept for counts in gathering.counts]
    if not sum(kept):
        read = sum(counts.rows for counts in gathering.counts)
        first = gathering.first_reason or "the sheets are empty"
        raise ConfigError(f"none of the {read} rows can be trained on; the first: {first}")
    taken = quotas(kept, [source.weight for source in sources])
    if any(source.weight for source in sources) and not all(taken):
        empty = taken.index(0)
        raise ConfigError(
            f"the weights leave no row of {sources[empty].file.path}", hint=f"{kept[empty]:,} of its rows are good"
        )
    selection = Selection(gathering, taken, options.validation, options.seed)
    if not selection.train_rows:
        raise ConfigError(f"--validation {options.validation} leaves no row to train on", hint="choose a smaller share")
    return selection


def _told(source: Source, selection: Selection, place: int) -> dict[str, Any]:
    """What dataset.json says of one source."""
    return {
        "file": source.file.path.name,
        "sha256": source.sha256,
        "format": source.kind,
        "columns": dict(source.columns),
        "weight": str(source.weight) if source.weight else None,
        **selection.source_report(place),
    }


def _fingerprint(
    options: PrepareOptions,
    sources: Sequence[Source],
    given: Mapping[str, str],
    wording: Wording,
    measure: TokenMeasure | None,
) -> str:
    inputs: dict[str, Any] = {
        "sources": [
            (source.file.path.name, source.sha256, source.kind, dict(source.columns), str(source.weight))
            for source in sources
        ],
        "formats": wording.fingerprint(),
        "validation": options.validation,
        "seed": options.seed,
        "encoding": options.encoding,
        "tokens": measure.identity if measure else None,
    }
    if later := [named for source in sources if (named := _named_for_later(source, given))]:
        inputs["columns of later records"] = later
    return sha256_text(json.dumps(inputs, ensure_ascii=False, sort_keys=True))


def _named_for_later(source: Source, given: Mapping[str, str]) -> dict[str, str]:
    """The columns that the user named and the first record of a stream has not: a later one may have them."""
    return {} if source.file.table else {name: role for name, role in given.items() if name not in source.file.columns}


def _recorded(folder: Path) -> str | None:
    """What the folder says it was made from; None where it is no dataset, or not whole any more."""
    try:
        meta = read_meta(folder)
        dataset_sha256(folder, meta)
        return str(meta["fingerprint"])
    except (ConfigError, OSError, KeyError):
        return None
