"""The base that is extended, and its folder with more rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.base import base_identity, check_base, read_config, resolve
from trainer.rewritten import Replacement, Stored, Weights, write_folder
from trainer.tokenizer import TOKENIZER_FILE, SentencePieceTokenizer
from trainer.vocab.matrices import token_matrices
from trainer.vocab.model_file import ModelFile, NewPiece
from trainer.vocab.reachable import fillers
from trainer.vocab.rows import grown_rows, old_ids


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that can be extended."""

    folder: Path
    identity: dict[str, Any]
    model: ModelFile
    filling: Sequence[NewPiece]
    """Pieces for the ids of tokens that were added beside the model: new pieces come after them."""
    weights: Weights
    matrices: Mapping[str, Stored]
    rows: int
    """Of its matrices; more than pieces where they are padded."""

    @classmethod
    def open(cls, source: str) -> Base:
        """Open a folder or hub id.

        Raises:
            ConfigError: it is no model, or one whose vocabulary cannot be extended.
            ToolError: it is damaged.
        """
        folder = resolve(source, "base model")
        check_base(folder)
        model = ModelFile.read(folder / TOKENIZER_FILE)
        filling = fillers(SentencePieceTokenizer.from_folder(folder), model)
        weights, config = Weights(folder), read_config(folder)
        matrices = token_matrices(weights, config, str(folder))
        return cls(folder, base_identity(folder), model, filling, weights, matrices, int(config["vocab_size"]))

    @property
    def kept(self) -> int:
        """Rows that stay as they are: all but padding."""
        return self.model.pieces + len(self.filling)

    def rows_with(self, new: int) -> int:
        """Rows of the matrices with so many new pieces, which take the place of padding first."""
        return max(self.rows, self.kept + new)

    def write_grown(self, folder: Path, texts: Sequence[str]) -> None:
        """Write all but tokenizer.model of the grown base into an existing folder."""
        scores = self.model.normal_pieces()
        ids = [old_ids(text, self.model, scores) for text in texts]
        rows = self.rows_with(len(ids))
        replaced = {
            name: Replacement((rows, stored.shape[1]), grown_rows(self.weights.open(name), self.kept, ids))
            for name, stored in self.matrices.items()
        }
        write_folder(folder, self.folder, self.weights, replaced, {"vocab_size": rows})
