"""SentencePiece-exact ids: the ids that SentencePiece gives are the ids that llama.cpp serves.

transformers' own Llama tokenizer segments an extended vocabulary differently (357 of 1,000 exam prompts with the
55,296-piece model), so it is not used at all.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError, require

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

TOKENIZER_FILE = "tokenizer.model"


class SentencePieceTokenizer:
    """`configs.prompt.Tokenizer` over a base model's tokenizer.model."""

    def __init__(self, processor: SentencePieceProcessor, added: dict[str, int]) -> None:
        self._processor = processor
        self._added = added

    @classmethod
    def from_folder(cls, folder: Path) -> SentencePieceTokenizer:
        """Open a model folder's tokenizer.model, with the special tokens added beside it.

        Raises:
            ConfigError: there is none, or SentencePiece cannot read it.
        """
        path = folder / TOKENIZER_FILE
        if not path.is_file():
            raise ConfigError(f"{folder} has no {TOKENIZER_FILE}", hint="copy it there from the original model")
        sentencepiece = require("sentencepiece", "train")
        try:
            # Of no bytes SentencePiece makes an object without a model, which talks to stderr.
            processor = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes() or b"\0")
        except RuntimeError as error:
            raise ConfigError(f"{path} is not a SentencePiece model") from error
        return cls(processor, _added_tokens(folder))

    @property
    def sha256(self) -> str:
        """Hash of the SentencePiece model."""
        return hashlib.sha256(self._processor.serialized_model_proto()).hexdigest()

    @property
    def pieces(self) -> int:
        """Number of pieces in the SentencePiece model."""
        return int(self._processor.get_piece_size())

    @property
    def size(self) -> int:
        """Smallest number of embedding rows that holds every id."""
        return max(self.pieces, *(id_ + 1 for id_ in self._added.values()), 0)

    @property
    def added(self) -> dict[str, int]:
        """Ids of the tokens that the folder adds to the SentencePiece model, by text."""
        return dict(self._added)

    @property
    def padding_id(self) -> int:
        """An id to fill short rows with; it is never trained nor attended to."""
        return max(int(self._processor.pad_id()), 0)

    def plain(self, text: str) -> list[int]:
        """Ids of plain text: no BOS, and nothing in it becomes a special token."""
        ids: list[int] = self._processor.encode(text, out_type=int)
        return ids

    def document(self, text: str) -> list[int]:
        """Ids of a document for pre-training: the text between the vocabulary's BOS, where it has one, and EOS.

        Raises:
            ConfigError: the vocabulary has no EOS.
        """
        begin, end = int(self._processor.bos_id()), int(self._processor.eos_id())
        if end < 0:
            raise ConfigError("the base model's tokenizer has no token that ends a text")
        return [*([begin] if begin >= 0 else []), *self.plain(text), end]

    def special(self, token: str) -> int:
        """Id of a special token; ConfigError if the vocabulary lacks it."""
        if token in self._added:
            return self._added[token]
        id_ = int(self._processor.piece_to_id(token))
        if id_ == self._processor.unk_id() and token != self._processor.id_to_piece(id_):
            raise ConfigError(
                f"the base model's tokenizer has no token {token}, which the prompt format writes",
                hint="prepare the data with a --prompt-format that this model knows",
            )
        return id_

    def piece(self, id_: int) -> str:
        """The piece of one id, for display."""
        if id_ < self.pieces:
            return str(self._processor.id_to_piece(id_))
        return next((token for token, place in self._added.items() if place == id_), f"<{id_}>")


def _added_tokens(folder: Path) -> dict[str, int]:
    """Special tokens that the folder adds after the SentencePiece pieces, by text."""
    added: dict[str, int] = {}
    try:
        for id_, token in (read_json(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}).items():
            added[token["content"] if isinstance(token, dict) else str(token)] = int(id_)
        return added | {token: int(id_) for token, id_ in read_json(folder / "added_tokens.json").items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"the added tokens of {folder} are damaged", hint="copy its JSON files again") from error


def read_json(path: Path) -> dict[str, Any]:
    """The table in a JSON file, empty where there is no such file.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}
