"""tokenizer.json: a vocabulary in the form that transformers opens; tokenizer.model it opens with protobuf only.

The rules are those of Llama's own tokenizer.json. A merge has a rank there, so that of pieces with one score, which
SentencePiece joins from the left, one comes before the other: how often that shows is counted, and told.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import require
from trainer.tokenizer import read_json
from trainer.vocab.extension import SPACE
from trainer.vocab.model_file import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, ModelFile

TOKENIZER_JSON, SETTINGS_FILE = "tokenizer.json", "tokenizer_config.json"

_SPECIAL_FILE = "special_tokens_map.json"
_TEXTS, _PIECES_OF_A_TEXT = 1_000, 12


@dataclass(frozen=True, slots=True)
class Agreement:
    """How transformers cuts texts, beside SentencePiece."""

    sentences: int
    sentences_otherwise: int
    drawn: int
    """Texts of the vocabulary's own pieces, drawn at random."""
    drawn_otherwise: int
    tied: int
    """Pieces whose score another one has too."""


def write_fast_tokenizer(folder: Path, base: Path, model: ModelFile) -> None:
    """Write tokenizer.json, and the base's tokenizer_config.json with the class that takes it as it stands.

    (The Llama class of transformers 5 takes the merges alone from it, and drops a blank at the beginning of a text.)

    Args:
        folder: exists already.
        base: the folder whose settings hold.
        model: the pieces.
    """
    settings = _settings(base, model)
    for name, value in ((SETTINGS_FILE, settings), (TOKENIZER_JSON, _table(model, settings))):
        (folder / name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def agreement(folder: Path, model: ModelFile, sentences: Sequence[str]) -> Agreement:
    """Cut sentences, and texts of random pieces, by the written tokenizer.json and by SentencePiece."""
    tokenizers = require("tokenizers", "train")
    fast = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_JSON))
    fast.encode_special_tokens = True  # text is text, whatever it looks like
    scores = _joined(model)
    drawn = _texts_of_pieces(list(scores))

    def otherwise(texts: Sequence[str]) -> int:
        pairs = zip(model.processor.encode(texts), fast.encode_batch(texts, add_special_tokens=False), strict=True)
        return sum(ours != theirs.ids for ours, theirs in pairs)

    tied = len(scores) - len(set(scores.values()))
    return Agreement(len(sentences), otherwise(sentences), len(drawn), otherwise(drawn), tied)


def _texts_of_pieces(pieces: Sequence[str]) -> list[str]:
    """Pieces in a random order, the same each time."""
    draw = random.Random(0)  # noqa: S311
    return ["".join(draw.choices(pieces, k=_PIECES_OF_A_TEXT)).replace(SPACE, " ") for _ in range(_TEXTS)]


def _settings(base: Path, model: ModelFile) -> dict[str, Any]:
    """tokenizer_config.json: the base's, and what the Llama class takes for granted."""
    processor = model.processor
    ids = {"bos_token": processor.bos_id(), "eos_token": processor.eos_id(), "unk_token": processor.unk_id()}
    settings = {
        **{kind: processor.id_to_piece(id_) for kind, id_ in ids.items() if id_ >= 0},
        "add_bos_token": processor.bos_id() >= 0,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "left",
        **read_json(base / _SPECIAL_FILE),
        **read_json(base / SETTINGS_FILE),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    settings.pop("auto_map", None)  # code for the old vocabulary
    # The converter to GGUF compares texts.
    texts = {kind: settings[kind].get("content") for kind in ids if isinstance(settings.get(kind), dict)}
    return settings | texts


def _table(model: ModelFile, settings: Mapping[str, Any]) -> dict[str, Any]:
    processor = model.processor
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(_whole(model)),
        "normalizer": {"type": "Sequence", "normalizers": list(_normalizers(model))},
        "pre_tokenizer": None,
        "post_processor": _template(model, settings),
        "decoder": {"type": "Sequence", "decoders": list(_decoders(model))},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": processor.id_to_piece(processor.unk_id()),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": BYTE in model.types,
            "ignore_merges": False,
            "vocab": {processor.id_to_piece(id_): id_ for id_ in range(model.pieces)},
            "merges": list(_merges(_joined(model))),
        },
    }


def _whole(model: ModelFile) -> Iterator[dict[str, Any]]:
    """What is sought in a text before it is cut: special tokens, and pieces that are joined with nothing."""
    place = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    for id_, kind in enumerate(model.types):
        if kind in (UNKNOWN, CONTROL, USER_DEFINED):
            yield {"id": id_, "content": model.processor.id_to_piece(id_), **place, "special": kind != USER_DEFINED}


def _joined(model: ModelFile) -> dict[str, float]:
    """Scores of the pieces that are made by joining others, and of characters."""
    numbers = [id_ for id_, kind in enumerate(model.types) if kind == NORMAL]
    return {model.processor.id_to_piece(id_): model.processor.get_score(id_) for id_ in numbers}


def _merges(scores: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Every pair that makes a piece, the best scored first."""
    for piece in sorted(scores, key=lambda piece: -scores[piece]):
        for at in range(1, len(piece)):
            if piece[:at] in scores and piece[at:] in scores:
                yield piece[:at], piece[at:]


def _normalizers(model: ModelFile) -> Iterator[dict[str, Any]]:
    if model.removes_spaces:
        for pattern, content in ((r"\A +", ""), (rf"[ {SPACE}]+\z", ""), (" +", " ")):
            yield {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
    if model.begins_with_space:
        yield {"type": "Prepend", "prepend": SPACE}
    yield {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}


def _decoders(model: ModelFile) -> Iterator[dict[str, Any]]:
    yield {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    yield {"type": "ByteFallback"}
    yield {"type": "Fuse"}
    if model.begins_with_space:
        yield {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def _template(model: ModelFile, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What stands before and after a text."""
    processor = model.processor
    ids = {"add_bos_token": processor.bos_id(), "add_eos_token": processor.eos_id()}
    texts = {kind: processor.id_to_piece(id_) for kind, id_ in ids.items() if settings[kind] and id_ >= 0}
    before, after = ([{"SpecialToken": {"id": texts[kind], "type_id": 0}}] if kind in texts else [] for kind in ids)
    one, two = ({"Sequence": {"id": name, "type_id": kind}} for kind, name in enumerate("AB"))
    return {
        "type": "TemplateProcessing",
        "single": [*before, one, *after],
        "pair": [*before, one, two, *after],
        "special_tokens": {text: {"id": text, "ids": [ids[kind]], "tokens": [text]} for kind, text in texts.items()},
    }
