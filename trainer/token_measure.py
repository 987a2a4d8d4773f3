"""How many tokens a row has, and whether it fits: counted by the base model's own tokenizer."""

from __future__ import annotations

from dataclasses import dataclass

from configs.atomic import sha256_file
from configs.errors import ConfigError
from configs.formats import Formats
from trainer.base import resolve
from trainer.datasets.folder import Row
from trainer.examples import encode_row
from trainer.settings import load_settings
from trainer.tokenizer import TOKENIZER_FILE, SentencePieceTokenizer


@dataclass(frozen=True, slots=True)
class TokenMeasure:
    """Counts a row's tokens as `fit` will see them."""

    formats: Formats
    tokenizer: SentencePieceTokenizer
    max_length: int
    identity: tuple[str, int]
    """Hash of the tokenizer, and the length."""

    @classmethod
    def of(cls, model: str, max_length: int, formats: Formats) -> TokenMeasure | None:
        """The measure of a base model; None where none is named.

        Raises:
            ConfigError: the model has no tokenizer, or there is a length and no model to measure it by.
        """
        if not model:
            if max_length:
                raise ConfigError("--max-length counts tokens", hint="name the model whose tokens with --model BASE")
            return None
        folder = resolve(model, "base model")
        tokenizer = SentencePieceTokenizer.from_folder(folder)
        max_length = max_length or load_settings().training.max_length
        return cls(formats, tokenizer, max_length, (sha256_file(folder / TOKENIZER_FILE), max_length))

    def __call__(self, row: Row) -> tuple[int, bool] | str:
        """(tokens, whether the row is shortened to fit), or why it cannot be trained on."""
        if row.text:
            return len(self.tokenizer.document(row.text)), False
        examples = encode_row(row, self.formats, self.tokenizer, self.max_length)
        if not examples:
            return f"does not fit {self.max_length} tokens"
        return max(len(example.ids) for example in examples), any(example.truncated for example in examples)
