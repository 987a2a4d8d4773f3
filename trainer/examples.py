"""Dataset rows -> token ids, of which only the reply is trained.

The target is what the prompt format writes after its generation prompt: the reply and the token that ends it. A row
longer than `max_length` loses the end of its passage; the question, the options and the answer stay whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from configs.errors import ConfigError
from configs.exam import Question
from configs.formats import Formats
from configs.prompt import Tokenizer, encode_split
from trainer.datasets.folder import Row

IGNORED = -100
"""Label of a position that is not trained, as torch's cross entropy has it."""

_NAMED_ROWS = 5


@dataclass(frozen=True, slots=True)
class Example:
    """One row as the model sees it."""

    id: str
    ids: tuple[int, ...]
    prompt_length: int
    """Tokens before the first trained one."""
    question: Question | None
    """The question as it was rendered: with a shortened passage where `truncated`."""
    truncated: bool

    @property
    def labels(self) -> list[int]:
        """Per position: the id to train, or IGNORED."""
        return [IGNORED] * self.prompt_length + list(self.ids[self.prompt_length :])


def encode_rows(rows: Iterable[Row], formats: Formats, tokenizer: Tokenizer, max_length: int) -> list[Example]:
    """Encode all rows.

    Raises:
        ConfigError: rows that do not fit `max_length` even without their passage, all counted and the first few named.
    """
    examples, too_long = [], []
    for row in rows:
        example = encode_row(row, formats, tokenizer, max_length)
        if example:
            examples.append(example)
        else:
            too_long.append(row.id)
    if too_long:
        named = ", ".join(too_long[:_NAMED_ROWS]) + (", …" if len(too_long) > _NAMED_ROWS else "")
        raise ConfigError(
            f"{len(too_long)} rows do not fit training.max_length = {max_length} even without their passage: {named}",
            hint="raise training.max_length, or take those rows out of the sheet",
        )
    return examples


def encode_row(row: Row, formats: Formats, tokenizer: Tokenizer, max_length: int) -> Example | None:
    """Encode one row; None where it does not fit `max_length`."""
    prompt_ids, target_ids = encode_split(formats.prompt, row.messages, tokenizer)
    if not target_ids:
        raise ConfigError(f"row {row.id} has an empty reply: nothing to train on")
    if len(prompt_ids) + len(target_ids) <= max_length:
        return Example(row.id, (*prompt_ids, *target_ids), len(prompt_ids), row.question, truncated=False)
    return _shortened(row, formats, tokenizer, max_length)


def _shortened(row: Row, formats: Formats, tokenizer: Tokenizer, max_length: int) -> Example | None:
    """The row with the longest start of its passage that fits, found by bisection over the passage's characters."""
    if row.question is None or formats.question is None:
        return None
    best: Example | None = None
    low, high = 0, len(row.question.passage)
    while low < high or best is None:
        kept = (low + high) // 2
        question = replace(row.question, passage=row.question.passage[:kept])
        messages = [*formats.question.messages(replace(question, answer=None)), row.messages[-1]]
        prompt_ids, target_ids = encode_split(formats.prompt, messages, tokenizer)
        if len(prompt_ids) + len(target_ids) <= max_length:
            best = Example(row.id, (*prompt_ids, *target_ids), len(prompt_ids), question, truncated=True)
            low = kept + 1
        elif kept == 0:
            break
        else:
            high = kept
    return best


def padded(examples: Sequence[Example], padding_id: int) -> tuple[list[list[int]], list[list[int]]]:
    """(ids, labels) of a batch, filled at the right to its longest row.

    Causal attention never looks to the right, so no attention mask is needed: real positions see real positions only.
    """
    width = max(len(example.ids) for example in examples)
    ids = [list(example.ids) + [padding_id] * (width - len(example.ids)) for example in examples]
    labels = [example.labels + [IGNORED] * (width - len(example.ids)) for example in examples]
    return ids, labels
