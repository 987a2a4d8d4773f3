"""`trainer preview`: rows as the model will see them, and how long they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from configs.formats import Formats
from trainer.base import resolve
from trainer.datasets.folder import Row, read_dataset
from trainer.examples import Example, encode_row, encode_rows
from trainer.settings import load_settings
from trainer.tokenizer import SentencePieceTokenizer

_BINS = 12
_BAR_CELLS = 40


def preview(data: Path, model: str, *, rows: int, max_length: int) -> Iterator[str]:
    """Lines that show the first rows, then the histogram of token lengths of all rows.

    Args:
        max_length: 0 takes the default preset's.
    """
    max_length = max_length or load_settings().training.max_length
    dataset = read_dataset(data)
    tokenizer = SentencePieceTokenizer.from_folder(resolve(model, "base model"))
    every = chain(dataset.train, dataset.validation)
    for row in islice(every, max(rows, 0)):
        yield from _shown(row, dataset.formats, tokenizer, max_length)
    examples = encode_rows(chain(dataset.train, dataset.validation), dataset.formats, tokenizer, max_length)
    yield from _histogram(examples, max_length)


def _shown(row: Row, formats: Formats, tokenizer: SentencePieceTokenizer, max_length: int) -> Iterator[str]:
    if row.text:
        pieces = [tokenizer.piece(id_) for id_ in tokenizer.document(row.text)]
        yield f"── row {row.id}: {len(pieces)} tokens of raw text, all trained, in blocks of {max_length:,}"
        yield row.text
        yield f"trained  {' '.join(pieces)}"
        yield ""
        return
    examples = encode_row(row, formats, tokenizer, max_length)
    if not examples:
        yield f"── row {row.id}: does not fit {max_length:,} tokens"
    for example in examples:
        note = ", shortened" if example.truncated else ""
        yield f"── row {row.id}: {len(example.ids)} tokens, {example.trained_tokens} trained{note}"
        yield formats.prompt.split(row.messages)[0].text
        yield f"reply    {row.messages[-1]['content']}"
        yield from _marked(example, tokenizer)
        yield ""


def _marked(example: Example, tokenizer: SentencePieceTokenizer) -> Iterator[str]:
    """The pieces, in lines of trained ones and others."""
    pieces = [tokenizer.piece(id_) for id_ in example.ids]
    before = 0
    for start, end in example.trained:
        yield f"tokens   {' '.join(pieces[before:start])}"
        yield f"trained  {' '.join(pieces[start:end])}"
        before = end
    if before < len(pieces):
        yield f"tokens   {' '.join(pieces[before:])}"


def _histogram(examples: Sequence[Example], max_length: int) -> Iterator[str]:
    lengths = sorted(len(example.ids) for example in examples)
    width = max(1, -(-max_length // _BINS))
    counts = [0] * _BINS
    for length in lengths:
        counts[(length - 1) // width] += 1
    yield f"tokens a row (of raw text: a block), of at most {max_length:,}:"
    for place, count in enumerate(counts):
        bar = "█" * round(count / max(counts) * _BAR_CELLS)
        yield f"{place * width + 1:>6,} – {min((place + 1) * width, max_length):<6,} {count:>7,} {bar}".rstrip()
    shortened = sum(example.truncated for example in examples)
    yield (
        f"{len(lengths):,} rows, mean {sum(lengths) / len(lengths):.0f}, median {lengths[len(lengths) // 2]:,}, "
        f"longest {lengths[-1]:,}; {shortened:,} shortened"
    )
