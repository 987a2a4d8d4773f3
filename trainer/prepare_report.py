"""What `trainer prepare` says: how it took the files, and the numbers of the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.datasets.folder import REJECTED_FILE
from trainer.prepare import Prepared

_COUNTS = ("rows", "train", "validation", "rejected", "duplicates")
_OCCASIONAL = ("labels_normalised", "blank_options", "turns_cut", "left_out_by_weights")


def narration(prepared: Prepared, output: Path) -> Iterator[str]:
    """Sentences for a person, before the numbers."""
    if not prepared.made:
        yield f"{output} was already made from the same inputs"
        return
    meta = prepared.meta
    yield from prepared.notes
    for source in meta["sources"]:
        columns = ", ".join(f"{role}={column}" for role, column in source["columns"].items())
        yield f"{source['file']}: format {source['format']}, columns {columns}"
    if meta["blank_options"]:
        yield f"{meta['blank_options']} blank options stay blank in their questions"
    if meta["turns_cut"]:
        yield f"{meta['turns_cut']} turns before a first question or without a reply are cut off"
    if meta["validation_share"] and not meta["validation"]:
        yield "no row is left to validate on: rows whose texts begin or end alike stay together, and too few are left"
    leaking = meta["leakage"]["begin_like_a_training_row"]
    if leaking:
        yield f"{leaking} validation rows begin with the same 50 letters as a training row: versions of one text?"
    if meta["rejected"]:
        yield f"{meta['rejected']} rows left out, with their reasons, are in {output / REJECTED_FILE}"
    yield f"wrote {output}"


def table(meta: Mapping[str, Any]) -> Iterator[str]:
    """The numbers, a line each."""
    for name in (*_COUNTS, *(name for name in _OCCASIONAL if meta[name])):
        yield f"{name.replace('_', ' '):19} {meta[name]:>8,}"
    if meta["truncated"] is not None:
        yield f"{'truncated':19} {meta['truncated']:>8,}"
    if looked_at := meta["leakage"]["validation_rows"]:
        alike = meta["leakage"]["begin_like_a_training_row"]
        yield f"{'leakage':19} {alike:>8,} of {looked_at:,} validation rows begin like a training row"
    if len(meta["sources"]) > 1:
        for source in meta["sources"]:
            weight = f", weight {source['weight']}" if source["weight"] else ""
            yield f"  {source['file']}{weight}: {source['train']:,} train, {source['validation']:,} validation"
    for name in ("characters", "tokens"):
        if meta[name]:
            yield f"{name + ' a row':19} {_lengths(meta[name])}"
    for side, counts in meta["labels"].items():
        if counts:
            yield f"{'labels, ' + side:19} {_shares(counts)}"
    if meta["entities"]:
        yield f"{'entities':19} {_shares(meta['entities'])}"


def _lengths(summary: Mapping[str, float]) -> str:
    named = ("mean", "median", "p90", "p99", "longest")
    return ", ".join(f"{name} {summary[name]:,}" for name in named) + f"; {summary['sum']:,} in all"


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    return ", ".join(f"{name}: {count:,} ({count / total:.0%})" for name, count in counts.items())
