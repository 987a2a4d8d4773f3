"""The tokenizer's files: from the last adapter that brings a tokenizer, else from the base."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ToolError, require
from exporter import tokens
from exporter.sources.llama_config import read_json
from exporter.tokens import AddedToken, Piece

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

MODEL = "tokenizer.model"
_TOGETHER = (MODEL, "tokenizer.json", "added_tokens.json", "vocab.json", "merges.txt")
"""Files that describe one vocabulary: never mixed from two folders."""
_TIKTOKEN_LINE = re.compile(rb"[A-Za-z0-9+/]+=* \d+\n")
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json")


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """File names of a tokenizer and where each is read from."""

    files: dict[str, Path]

    @property
    def has_model(self) -> bool:
        """Whether there is a SentencePiece model."""
        return MODEL in self.files and not self.is_tiktoken

    @property
    def has_json(self) -> bool:
        """Whether there is a tokenizer.json."""
        return "tokenizer.json" in self.files

    @property
    def is_tiktoken(self) -> bool:
        """Whether tokenizer.model is Llama 3's list of byte pairs, which Meta gives the same name."""
        if MODEL not in self.files:
            return False
        with self.files[MODEL].open("rb") as file:
            return _TIKTOKEN_LINE.match(file.read(64)) is not None

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file's table, empty if there is no such file."""
        return read_json(self.files[name]) if name in self.files else {}

    def processor(self) -> SentencePieceProcessor:
        """The loaded SentencePiece model.

        Raises:
            ToolError: the file is damaged.
        """
        sentencepiece = require("sentencepiece", "convert")
        try:
            processor: SentencePieceProcessor = sentencepiece.SentencePieceProcessor(model_file=str(self.files[MODEL]))
            for number in range(processor.vocab_size()):
                processor.id_to_piece(number)  # of a damaged file some are no UTF-8
        except (RuntimeError, OSError, UnicodeDecodeError) as error:
            raise ToolError(f"{self.files[MODEL]} is not a SentencePiece model") from error
        return processor

    def added(self) -> list[AddedToken]:
        """Tokens that the configuration adds to the model's.

        Raises:
            ToolError: the configuration's table of them is damaged.
        """
        decoder = self.json("tokenizer_config.json").get("added_tokens_decoder") or {}
        try:
            return added_tokens(self.json("added_tokens.json"), decoder)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolError(f"the added tokens of {self.files['tokenizer_config.json'].parent} are damaged") from error


def find_tokenizer(folders: Sequence[Path]) -> TokenizerFiles:
    """Collect tokenizer files. Folders are given in order of preference (the last adapter first, the base last).

    The vocabulary comes whole from the first folder that has a SentencePiece model (transformers 5 saves a
    tokenizer.json without it beside many an adapter), else from the first with a tokenizer.json; settings that are
    missing there come from the next.
    """
    files: dict[str, Path] = {}
    homes = [folder for name in _TOGETHER[:2] for folder in folders if (folder / name).is_file()]
    if homes:
        files = {name: homes[0] / name for name in _TOGETHER if (homes[0] / name).is_file()}
    for name in _SETTINGS:
        for folder in folders:
            if (folder / name).is_file():
                files[name] = folder / name
                break
    return TokenizerFiles(files)


def read_pieces(processor: SentencePieceProcessor) -> list[Piece]:
    """Every piece with its exact score and its type."""
    return [
        Piece(processor.id_to_piece(number), processor.get_score(number), _kind(processor, number))
        for number in range(processor.vocab_size())
    ]


def _kind(processor: SentencePieceProcessor, number: int) -> int:
    if processor.is_unknown(number):
        return tokens.UNKNOWN
    if processor.is_control(number):
        return tokens.CONTROL
    if processor.is_unused(number):
        return tokens.UNUSED
    return tokens.BYTE if processor.is_byte(number) else tokens.NORMAL


def added_tokens(added_json: Mapping[str, object], decoder: Mapping[str, object]) -> list[AddedToken]:
    """Tokens of `added_tokens.json`, then of tokenizer_config's `added_tokens_decoder`: the later ones win."""
    found = [AddedToken(number, text, None) for text, number in added_json.items() if isinstance(number, int)]
    for number, entry in decoder.items():
        if isinstance(entry, Mapping):
            found.append(AddedToken(int(number), str(entry["content"]), bool(entry.get("special"))))
    return found
