"""What `trainer vocab` tells a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_NAMED = 12


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report of an extension, line by line."""
    pieces, rows, held = report["pieces"], report["rows"], report["held_out"]
    yield f"pieces    {pieces['before']:,} -> {pieces['after']:,}; rows {rows['before']:,} -> {rows['after']:,}"
    yield f"learnt    {report['learnt']:,} ({report['type']}), {report['known']:,} of them known before"
    if report["all_learnt"] and report["new"] < report["size"]:
        yield f"          the corpus gives no more than that: --size {report['size']:,} was more than it holds"
    if report["beyond_size"]:
        yield f"          {report['beyond_size']:,} left out: --size was reached"
    if report["intermediates"]:
        yield f"added     {_named(report['intermediates'])}, without which others would never be made"
    if report["unreachable"]:
        yield f"left out  {_named(report['unreachable'])}, which no text would become"
    corpus = report["corpus"]
    if corpus["rejected"]:
        yield f"unread    {corpus['rejected']:,} rows; the first: {corpus['first_reason']}"
    if corpus["cut_anywhere"]:
        yield f"cut       {corpus['cut_anywhere']:,} long sentences at no particular place; --split-on names some"
    per = report["tokens_per_character"]
    yield f"held out  {held['sentences']:,} sentences, {held['characters']:,} characters"
    tokens = f"{held['before']:,} -> {held['after']:,} tokens"
    yield f"          {tokens}, {per['before']:.3f} -> {per['after']:.3f} a character"
    yield (
        f"          {report['shorter']:.1%} shorter; single bytes among the tokens: "
        f"{_share(held['byte_tokens_before'], held['before'])} -> {_share(held['byte_tokens_after'], held['after'])}"
    )
    yield from _beside_transformers(report["transformers"])


def _beside_transformers(agreed: dict[str, int]) -> Iterator[str]:
    sentences, drawn = agreed["sentences_otherwise"], agreed["drawn_otherwise"]
    texts = f"{agreed['drawn']:,} texts of random pieces"
    if not sentences + drawn:
        yield f"opened    by AutoTokenizer, which cuts these sentences and {texts} as SentencePiece does"
        return
    yield f"opened    by AutoTokenizer, which cuts {sentences:,} of these sentences and {drawn:,} of {texts} otherwise"
    yield "          than SentencePiece does; the trainer and llama.cpp keep to tokenizer.model"
    if agreed["tied"]:
        yield f"          ({agreed['tied']:,} pieces have a score that others have too, as no tokenizer.json can say)"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0"


def _named(pieces: Sequence[str]) -> str:
    more = f" and {len(pieces) - _NAMED:,} more" if len(pieces) > _NAMED else ""
    return f"{len(pieces):,} ({', '.join(pieces[:_NAMED])}{more})"
