"""The matrices of a model that have a row for every token."""

from __future__ import annotations

from typing import Any

from configs.errors import ConfigError
from trainer.rewritten import FLOATS, Stored, Weights

EMBEDDINGS, HEAD = "embed_tokens.weight", "lm_head.weight"


def token_matrices(weights: Weights, config: dict[str, Any], base: str) -> dict[str, Stored]:
    """The embeddings and, where it is stored, the output matrix.

    Raises:
        ConfigError: there are none, they are not as long as config.json says, of another number type than floats, or
            something else in the model has a number for every token too.
    """
    rows = config.get("vocab_size")
    found = {name: stored for name, stored in weights if name.endswith((EMBEDDINGS, HEAD))}
    if not any(name.endswith(EMBEDDINGS) for name in found):
        raise ConfigError(f"{base} has no tensor {EMBEDDINGS}", hint="a model of the Llama family is needed")
    if not config.get("tie_word_embeddings", False) and not any(name.endswith(HEAD) for name in found):
        raise ConfigError(f"{base} has no tensor {HEAD}, and its config.json does not tie it to the embeddings")
    for name, stored in found.items():
        if len(stored.shape) != 2 or stored.shape[0] != rows:
            raise ConfigError(f"{base}: {name} has the shape {stored.shape}, but config.json says vocab_size = {rows}")
        if stored.dtype not in FLOATS:
            raise ConfigError(f"{base}: {name} is {stored.dtype}", hint="a base in f32, f16 or bf16 is needed")
    others = [name for name, stored in weights if name not in found and name.startswith(("lm_head.", "model.embed"))]
    if others:
        raise ConfigError(f"{base} has {others[0]}, which would have to grow too and is not known here")
    return found
