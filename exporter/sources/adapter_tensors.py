"""The tensors of a PEFT adapter file: what each of them is to the module that its name says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ToolError
from exporter.sources.weight_files import some

_PREFIX = "base_model.model."

_ROLES = {
    "a": r"lora_A\.weight",
    "b": r"lora_B\.weight",
    "b_bias": r"lora_B\.bias",
    "embedding_a": "lora_embedding_A",
    "embedding_b": "lora_embedding_B",
    "magnitude": r"lora_magnitude_vector(?:\.weight)?",
    "tokens": r"token_adapter\.trainable_tokens_delta",
    "base": r"(?:token_adapter\.)?base_layer\.weight",
    "saved": r"modules_to_save\.weight",
    "saved_bias": r"modules_to_save\.bias",
    "original": r"original_module\.weight",
    "original_bias": r"original_module\.bias",
    "bias": r"(?:base_layer\.)?bias",
    "weight": "weight",
}
"""What a tensor is, by the end of its name. `original_module` is the base's own, saved beside what replaces it."""

_KEY = re.compile(
    re.escape(_PREFIX) + r"(?P<module>.+?)\.(?:" + "|".join(f"(?P<{role}>{end})" for role, end in _ROLES.items()) + ")"
)


@dataclass(frozen=True, slots=True)
class LoraPair:
    """Where one weight's factors are, and what they are multiplied by."""

    a_name: str
    b_name: str
    rank: int
    scale: float
    magnitude: str = ""
    """DoRA's vector of row norms; empty for plain LoRA."""
    is_embedding: bool = False
    """A is [rank, rows] and B [columns, rank]: the delta is the transpose of B @ A."""


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Rows that replace rows of a base tensor."""

    key: str
    rows: tuple[int, ...]
    """The base's row that each row of the tensor `key` replaces."""


@dataclass(frozen=True, slots=True)
class BiasDelta:
    """What is added to a bias, times its scale."""

    key: str
    scale: float


@dataclass(frozen=True, slots=True)
class Change:
    """Everything an adapter does to one base tensor: replace it, replace rows of it, add to it, in this order."""

    full: str = ""
    tokens: TokenRows | None = None
    pair: LoraPair | None = None
    bias: BiasDelta | None = None


def sort_keys(folder: Path, keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """Tensor names by module and role.

    Raises:
        ToolError: a name that no LoRA adapter has, or two for one thing.
    """
    modules: dict[str, dict[str, str]] = {}
    strangers, doubles = [], []
    for key in keys:
        match = _KEY.fullmatch(key)
        if match is None:
            strangers.append(key)
            continue
        role = next(role for role in _ROLES if match[role])
        if modules.setdefault(match["module"], {}).setdefault(role, key) != key:
            doubles.append(key)
    if strangers:
        raise ToolError(f"{folder} holds tensors that no LoRA adapter has: {some(strangers)}")
    if doubles:
        raise ToolError(f"{folder} holds two tensors for one thing: {some(doubles)}")
    return modules
