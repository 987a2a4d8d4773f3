"""A `tokenizer.json`: its vocabulary, added tokens and the checks that llama.cpp can tokenize as it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ToolError
from exporter import tokens
from exporter.sources.llama_config import read_json
from exporter.tokens import AddedToken, Piece


@dataclass(frozen=True, slots=True)
class TokenizerJson:
    """The parts of a `tokenizer.json` that a GGUF can hold."""

    path: Path
    table: Mapping[str, Any]

    @property
    def model(self) -> Mapping[str, Any]:
        """The model's own table: vocabulary, merges and flags."""
        model: Mapping[str, Any] = self.table["model"]
        return model

    @property
    def has_byte_fallback(self) -> bool:
        """Whether this is a SentencePiece model in other clothes, and no byte-level vocabulary."""
        return bool(self.model.get("byte_fallback"))

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Token text -> id, without the added tokens."""
        vocabulary: Mapping[str, int] = self.model["vocab"]
        return vocabulary

    @property
    def merges(self) -> list[tuple[str, str]]:
        """The merges in order of rank: pairs (since tokenizers 0.20), or texts with a blank between (before)."""
        return [
            (str(pair[0]), str(pair[1])) if not isinstance(pair, str) else _halves(pair)
            for pair in self.model.get("merges") or []
        ]

    @property
    def added(self) -> list[AddedToken]:
        """Tokens that are matched before the model sees the text."""
        return [
            AddedToken(int(entry["id"]), str(entry["content"]), bool(entry.get("special")))
            for entry in self.table.get("added_tokens") or []
        ]

    def normal_pieces(self) -> list[tuple[int, str]]:
        """(id, text) of the vocabulary's own tokens."""
        return sorted((number, text) for text, number in self.vocabulary.items())


def read_tokenizer_json(path: Path) -> TokenizerJson:
    """Read and check a `tokenizer.json`.

    Raises:
        ToolError: it holds no BPE model, or one whose text is changed in ways that llama.cpp does not know.
    """
    table = read_json(path)
    model = table.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("vocab"), Mapping):
        raise ToolError(f"{path} holds no vocabulary")
    if model.get("type", "BPE") != "BPE":
        raise ToolError(f"{path} holds a {model['type']} model; only BPE can be written to a GGUF")
    tokenizer = TokenizerJson(path, table)
    if not tokenizer.has_byte_fallback:
        _check_byte_level(tokenizer)
    return tokenizer


def _check_byte_level(tokenizer: TokenizerJson) -> None:
    normalizer = tokenizer.table.get("normalizer")
    for step in _steps(normalizer, "normalizers"):
        if step.get("type") != "NFC":  # llama.cpp does not compose; text typed on today's systems is composed already
            raise ToolError(f"{tokenizer.path} normalizes text with {step.get('type')}, which llama.cpp does not do")
    for flag in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if tokenizer.model.get(flag):
            raise ToolError(f"{tokenizer.path} uses {flag}, which llama.cpp does not know")


def _steps(table: Mapping[str, Any] | None, key: str) -> Sequence[Mapping[str, Any]]:
    if not table:
        return []
    steps: Sequence[Mapping[str, Any]] = table.get(key) or [] if table.get("type") == "Sequence" else [table]
    return steps


def _halves(pair: str) -> tuple[str, str]:
    left, _, right = pair.partition(" ")
    return left, right


def rebuild_pieces(tokenizer: TokenizerJson) -> list[Piece]:
    """A SentencePiece model's pieces from a `tokenizer.json` that outlived its `tokenizer.model`.

    Scores are lost; their order is not: llama.cpp joins the pair whose product scores highest, the merges are listed
    in that order, so minus the rank of a token's first merge does the same. Tokens that no merge makes come last.
    """
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(tokenizer.merges):
        ranks.setdefault(left + right, rank)
    last = len(tokenizer.merges)
    special = {token.text for token in tokenizer.added if token.special}
    unknown = tokenizer.model.get("unk_token")
    size = max(tokenizer.vocabulary.values()) + 1
    pieces = [Piece(f"[PAD{number}]", 0.0, tokens.UNUSED) for number in range(size)]
    for number, text in tokenizer.normal_pieces():
        kind = tokens.NORMAL
        if text == unknown:
            kind = tokens.UNKNOWN
        elif len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            kind = tokens.BYTE
        elif text in special:
            kind = tokens.CONTROL
        pieces[number] = Piece(text, -float(ranks.get(text, last)) if kind == tokens.NORMAL else 0.0, kind)
    return pieces
