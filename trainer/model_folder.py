"""A model folder made of the base and what was trained of it, in the type that the base keeps it in.

Untrained tensors are the base's bytes; no parameter that ZeRO-3 has scattered is asked for.
"""

from __future__ import annotations

from pathlib import Path

import torch

from configs.errors import ToolError
from trainer.rewritten import Replacement, Weights, torch_type, write_folder


def write_model(base: Path, trained: dict[str, torch.Tensor], folder: Path) -> None:
    """Write config, weights and tokenizer of a model in Hugging Face layout.

    Args:
        base: the folder that was trained on.
        trained: f32 tensors by the base's own names.
        folder: an existing folder.

    Raises:
        ToolError: a trained tensor has no place in the base, or none differs from it: nothing was trained.
    """
    weights = Weights(base)
    types = {name: torch_type(stored.dtype) for name, stored in weights}
    if left := trained.keys() - types.keys():
        raise ToolError(f"{base} has no tensor {min(left)}, which was trained")
    if all(torch.equal(tensor.to(types[name]), weights.open(name)) for name, tensor in trained.items()):
        raise ToolError("the model is untrained: no weight differs from the base", hint="raise training.learning_rate")
    replaced = {name: Replacement(tuple(tensor.shape), [tensor]) for name, tensor in trained.items()}
    write_folder(folder, base, weights, replaced, {})
