"""`trainer preview`: rows as the model will see them, and how long they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from trainer.base import resolve
from trainer.datasets.folder import Row, read_dataset
from trainer.examples import Example, encode_rows
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
    every = (*dataset.train, *dataset.validation)
    examples = encode_rows(every, dataset.formats, tokenizer, max_length)
    for row, example in islice(zip(every, examples, strict=True), max(rows, 0)):
        yield from _shown(row, example, dataset.formats.prompt.split(row.messages)[0].text, tokenizer)
    yield from _histogram(examples, max_length)


def _shown(row: Row, example: Example, prompt: str, tokenizer: SentencePieceTokenizer) -> Iterator[str]:
    pieces = [tokenizer.piece(id_) for id_ in example.ids]
    yield f"── row {row.id}: {len(pieces)} tokens, {len(pieces) - example.prompt_length} trained" + (
        ", passage shortened" if example.truncated else ""
    )
    yield prompt
    yield f"reply    {row.messages[-1]['content']}"
    yield f"tokens   {' '.join(pieces[: example.prompt_length])}"
    yield f"trained  {' '.join(pieces[example.prompt_length :])}"
    yield ""


def _histogram(examples: Sequence[Example], max_length: int) -> Iterator[str]:
    lengths = sorted(len(example.ids) for example in examples)
    width = max(1, -(-max_length // _BINS))
    counts = [0] * _BINS
    for length in lengths:
        counts[(length - 1) // width] += 1
    yield f"tokens a row, of at most {max_length:,}:"
    for place, count in enumerate(counts):
        bar = "█" * round(count / max(counts) * _BAR_CELLS)
        yield f"{place * width + 1:>6,} – {min((place + 1) * width, max_length):<6,} {count:>7,} {bar}".rstrip()
    shortened = sum(example.truncated for example in examples)
    yield (
        f"{len(lengths):,} rows, mean {sum(lengths) / len(lengths):.0f}, median {lengths[len(lengths) // 2]:,}, "
        f"longest {lengths[-1]:,}; {shortened:,} with a shortened passage"
    )
