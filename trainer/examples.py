"""Dataset rows -> token ids, of which only some are trained: every reply of a conversation, all of raw text.

A reply's target is what the prompt format writes after its generation prompt: the reply and the token that ends it. An
exam row longer than `max_length` loses the end of its passage (the question, the options and the answer stay whole), a
dialogue its last turns. Raw text is put end to end and cut into blocks of `max_length`.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from configs.atomic import sha256_text
from configs.errors import ConfigError
from configs.exam import Question
from configs.formats import Formats
from configs.prompt import Message
from trainer.blocks import TextBlocks
from trainer.datasets.folder import TOKENS_FOLDER, Row, RowFile
from trainer.replies import Encoded, Span, encode_conversation
from trainer.tokenizer import SentencePieceTokenizer

IGNORED = -100
"""Label of a position that is not trained, as torch's cross entropy has it."""

_NAMED_ROWS = 5


@dataclass(frozen=True, slots=True)
class Example:
    """A sequence as the model sees it: a row, or a block of raw text."""

    id: str
    ids: Sequence[int]
    trained: tuple[Span, ...]
    """The trained positions, from the first token of each span to before its last."""
    question: Question | None = None
    """The question as it was rendered: with a shortened passage where `truncated`."""
    truncated: bool = False
    explanation: str = ""
    """What the reply says after the label of the question, where that is trained."""
    source: str = ""
    """Where the question comes from."""

    @property
    def labels(self) -> list[int]:
        """Per position: the id to train, or IGNORED."""
        labels = [IGNORED] * len(self.ids)
        for start, end in self.trained:
            labels[start:end] = self.ids[start:end]
        return labels

    @property
    def trained_tokens(self) -> int:
        """Number of trained positions."""
        return sum(end - start for start, end in self.trained)


def encode_rows(
    rows: Iterable[Row],
    formats: Formats,
    tokenizer: SentencePieceTokenizer,
    max_length: int,
    kept: Path | None = None,
    *,
    explanations: bool = False,
) -> list[Example]:
    """Encode all rows: the conversations in their order, then the blocks of the raw text.

    Args:
        kept: where the ids of raw text stay for the next run (see `TextBlocks`).
        explanations: exam rows that have one reply with the label and, in the next line, the explanation.

    Raises:
        ConfigError: rows that do not fit `max_length` however shortened, all counted and the first few named.
    """
    examples: list[Example] = []
    too_long: list[str] = []
    with TextBlocks(max_length, tokenizer.document, kept) as texts:
        for row in rows:
            if row.text:
                texts.add(row.id, row.text)
            elif encoded := encode_row(_as_trained(row, formats, explanations), formats, tokenizer, max_length):
                examples += encoded
            else:
                too_long.append(row.id)
        if too_long:
            named = ", ".join(too_long[:_NAMED_ROWS]) + (", …" if len(too_long) > _NAMED_ROWS else "")
            shorter = f"let `trainer prepare --model BASE --max-length {max_length}` leave those rows out"
            if explanations:  # `prepare` knows nothing of this setting: it measures rows without explanations
                shorter = "train without explanations: --set training.explanations=false"
            raise ConfigError(
                f"{len(too_long)} rows do not fit training.max_length = {max_length} even when shortened: {named}",
                hint=f"raise it, or {shorter}",
            )
        # Nothing stands before a block's first token that it could be told from.
        return examples + [Example(name, ids, ((1, len(ids)),)) for name, ids in texts.blocks() if len(ids) > 1]


def tokens_file(data: Path, work: Path, rows: RowFile, tokenizer: SentencePieceTokenizer) -> Path:
    """Where the ids of the raw text in these rows are kept; the name tells rows, tokenizer and what makes ids of them.

    Args:
        data: the dataset folder: so that another run finds them.
        work: where they are kept if that folder is somebody else's.
    """
    identity = " ".join([rows.sha256, tokenizer.sha256, version("sentencepiece")])
    folder = data if os.access(data, os.W_OK) else work
    return folder / TOKENS_FOLDER / f"{sha256_text(identity)[:16]}.ids"


def _as_trained(row: Row, formats: Formats, explanations: bool) -> Row:
    """The row with its explanation in the reply, or with none."""
    if not row.explanation or not explanations or not formats.question:
        return replace(row, explanation="")
    explanation = formats.question.converted(row.explanation)
    reply = {**row.messages[-1], "content": f"{row.messages[-1]['content']}\n{explanation}"}
    return replace(row, messages=(*row.messages[:-1], reply), explanation=explanation)


def encode_row(row: Row, formats: Formats, tokenizer: SentencePieceTokenizer, max_length: int) -> list[Example]:
    """Encode one conversation: in one example, or in one for each reply (see `encode_conversation`).

    Returns:
        Nothing where it does not fit `max_length`.
    """
    whole = encode_conversation(formats.prompt, row.messages, tokenizer)
    if _fit(whole, max_length):
        return _examples(row, whole)
    if row.question and formats.question:
        return _shorter_passage(row, row.question, formats, tokenizer, max_length)
    return _fewer_turns(row, formats, tokenizer, max_length)


def _fit(encoded: Iterable[Encoded], max_length: int) -> bool:
    return all(len(ids) <= max_length for ids, _ in encoded)


def _examples(row: Row, encoded: Iterable[Encoded], *, truncated: bool = False) -> list[Example]:
    examples = [
        Example(row.id, array("i", ids), spans, row.question, truncated, row.explanation, row.source)
        for ids, spans in encoded
    ]
    if any(start >= end for example in examples for start, end in example.trained):
        raise ConfigError(f"row {row.id} has an empty reply: nothing to train on")
    return examples


def _shorter_passage(
    row: Row, question: Question, formats: Formats, tokenizer: SentencePieceTokenizer, max_length: int
) -> list[Example]:
    """The row with the longest start of its passage that fits, found by bisection over the passage's characters."""
    assert formats.question is not None
    best: list[Example] = []
    low, high = 0, len(question.passage)
    while low < high or not best:
        kept = (low + high) // 2
        shorter = replace(question, passage=question.passage[:kept])
        messages = (*formats.question.messages(replace(shorter, answer=None)), row.messages[-1])
        encoded = encode_conversation(formats.prompt, messages, tokenizer)
        if _fit(encoded, max_length):
            best = _examples(replace(row, messages=messages, question=shorter), encoded, truncated=True)
            low = kept + 1
        elif kept == 0:
            break
        else:
            high = kept
    return best


def _fewer_turns(row: Row, formats: Formats, tokenizer: SentencePieceTokenizer, max_length: int) -> list[Example]:
    """The row without as many of its last turns as it takes to fit."""
    messages: Sequence[Message] = row.messages[:-2]
    while messages and messages[-1]["role"] == "assistant":
        encoded = encode_conversation(formats.prompt, messages, tokenizer)
        if _fit(encoded, max_length):
            return _examples(row, encoded, truncated=True)
        messages = messages[:-2]
    return []
