"""The books of an adapter: every tensor of it serves one change to one tensor of the base, and none is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from configs.errors import ToolError
from exporter.sources.adapter_config import AdapterConfig
from exporter.sources.adapter_tensors import BiasDelta, Change, LoraPair, TokenRows, sort_keys
from exporter.sources.huggingface import EMBEDDINGS, OUTPUT, BaseModel
from exporter.sources.weight_files import WeightFiles, Weights, some
from exporter.tensor import row_chunks

_EMBEDDINGS_MODULE = EMBEDDINGS.removesuffix(".weight")
_OUTPUT_MODULE = OUTPUT.removesuffix(".weight")
_VOCABULARY = (_EMBEDDINGS_MODULE, _OUTPUT_MODULE)


def account(folder: Path, config: AdapterConfig, weights: WeightFiles, base: BaseModel) -> dict[str, Change]:
    """What an adapter does to its base, by base tensor.

    Raises:
        ToolError: tensors left over, missing or of the wrong shape; all of one kind are listed.
    """
    modules = sort_keys(folder, weights.specs)
    if not modules:
        raise ToolError(f"{folder} holds no LoRA factors at all")
    books = _Books(folder, config, weights, base)
    changes: dict[str, Change] = {}
    for module, roles in modules.items():
        changes |= books.enter(module, dict(roles))
    books.close()
    _check_coverage(folder, config, changes, base)
    return changes


@dataclass(slots=True)
class _Books:
    """Goes through an adapter's modules and collects what is wrong, so that one error can list it all."""

    folder: Path
    config: AdapterConfig
    weights: WeightFiles
    base: BaseModel
    left_over: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    homeless: list[str] = field(default_factory=list)

    def enter(self, module: str, roles: dict[str, str]) -> dict[str, Change]:
        """The changes that one module's tensors make; takes what it uses out of `roles`."""
        shape = _shape(self.base, f"{module}.weight")
        if shape is None:
            self.homeless.append(module)
            return {}
        full = self._full(module, roles, shape)
        if full and module in _VOCABULARY:
            shape = self.weights.specs[full].shape
        pair = self._pair(module, roles, shape)
        tokens = self._tokens(module, roles, shape)
        changes = {f"{module}.weight": Change(full, tokens, pair)} if full or pair or tokens else {}
        bias = self._bias(module, roles, pair)
        if bias:
            changes[f"{module}.bias"] = bias
        self.left_over += roles.values()
        return changes

    def close(self) -> None:
        """Refuse the adapter if anything did not add up."""
        if self.homeless:
            raise misfit(self.folder, self.base, f"the base has no {some(self.homeless)}")
        if self.missing:
            raise ToolError(f"{self.folder} is incomplete: {some(self.missing)} missing")
        if self.left_over:
            raise ToolError(
                f"{self.folder} holds tensors that its adapter_config.json does not account for: {some(self.left_over)}"
            )

    def _full(self, module: str, roles: dict[str, str], shape: tuple[int, ...]) -> str:
        """The tensor that replaces the base's; the base's own, saved beside it, is dropped."""
        if not (module in _VOCABULARY or self.config.saves(module)):
            return ""
        found = [roles.pop(role) for role in ("saved", "weight", "base") if role in roles]
        if not found:
            return ""
        roles.pop("original", None)
        first = self.weights.specs[found[0]]
        for other in found[1:]:
            if not same_values(self.weights, found[0], self.weights, other):
                raise ToolError(f"{self.folder} holds two different tensors for {module}: {found[0]} and {other}")
        grown = module in _VOCABULARY and first.shape[0] > shape[0]
        if first.shape[1:] != shape[1:] or not (grown or first.shape == shape):
            raise misfit(
                self.folder, self.base,
                f"{module} is {_by(shape)} in the base and {_by(first.shape)} in the adapter",
            )  # fmt: skip
        return found[0]

    def _pair(self, module: str, roles: dict[str, str], shape: tuple[int, ...]) -> LoraPair | None:
        is_embedding = module == _EMBEDDINGS_MODULE
        names = ("embedding_a", "embedding_b") if is_embedding else ("a", "b")
        if len(shape) != 2 or not any(name in roles for name in names):
            return None
        labels = ("lora_embedding_A", "lora_embedding_B") if is_embedding else ("lora_A", "lora_B")
        lost = [f"{module}.{label}" for name, label in zip(names, labels, strict=True) if name not in roles]
        wants_magnitude = self.config.use_dora
        if wants_magnitude and "magnitude" not in roles:
            lost.append(f"{module}.lora_magnitude_vector")
        if lost:
            self.missing += lost
            for name in (*names, "magnitude"):
                roles.pop(name, None)
            return None
        a_name, b_name = (roles.pop(name) for name in names)
        magnitude = roles.pop("magnitude") if wants_magnitude else ""
        if is_embedding and magnitude:
            raise ToolError(f"{self.folder} uses DoRA on {module}, which cannot be merged: its norms run over all rows")
        rank = self._check_pair(module, a_name, b_name, shape[::-1] if is_embedding else shape)
        if magnitude and self.weights.specs[magnitude].shape != (shape[0],):
            raise ToolError(f"{self.folder}: {magnitude} is no vector of {shape[0]}")
        root = math.sqrt(rank) if self.config.use_rslora else rank
        return LoraPair(a_name, b_name, rank, self.config.alpha_of(module) / root, magnitude, is_embedding)

    def _check_pair(self, module: str, a_name: str, b_name: str, shape: tuple[int, ...]) -> int:
        """The rank of a pair that fits together, its base tensor and the configuration."""
        a_shape, b_shape = self.weights.specs[a_name].shape, self.weights.specs[b_name].shape
        if len(a_shape) != 2 or len(b_shape) != 2 or a_shape[0] != b_shape[1]:
            raise ToolError(f"{self.folder}: the factors of {module} do not fit each other: A {a_shape}, B {b_shape}")
        found = (b_shape[0], a_shape[1])
        if found != shape:
            raise misfit(
                self.folder, self.base, f"{module} is {_by(shape)} in the base and {_by(found)} in the adapter"
            )
        if a_shape[0] != self.config.rank_of(module):
            raise ToolError(
                f"{module} has rank {a_shape[0]}, by its adapter_config.json it should be {self.config.rank_of(module)}"
            )
        return a_shape[0]

    def _tokens(self, module: str, roles: dict[str, str], shape: tuple[int, ...]) -> TokenRows | None:
        rows = self.config.token_indices(module)
        if not rows or "tokens" not in roles:
            return None
        key = roles.pop("tokens")
        if self.weights.specs[key].shape != (len(rows), *shape[1:]):
            raise ToolError(
                f"{self.folder}: {key} is {_by(self.weights.specs[key].shape)}, "
                f"trainable_token_indices asks for {_by((len(rows), *shape[1:]))}"
            )
        if len(set(rows)) != len(rows) or not all(0 <= row < shape[0] for row in rows):
            raise ToolError(f"{self.folder}: trainable_token_indices names a row twice, or one beyond {shape[0]}")
        return TokenRows(key, tuple(rows))

    def _bias(self, module: str, roles: dict[str, str], pair: LoraPair | None) -> Change | None:
        shape = _shape(self.base, f"{module}.bias")
        saved = self.config.saves(module) or self.config.bias != "none"
        found = [roles.pop(role) for role in ("saved_bias", "bias") if saved and role in roles]
        added = roles.pop("b_bias", "") if self.config.lora_bias else ""
        if found:
            roles.pop("original_bias", None)
        if self.config.lora_bias and pair and not added:
            self.missing.append(f"{module}.lora_B.bias")
        if not (found or added):
            return None
        if shape is None:
            raise ToolError(f"{self.folder} brings a bias for {module}, which has none in the base")
        for key in filter(None, (*found, added)):
            if self.weights.specs[key].shape != shape:
                raise ToolError(f"{self.folder}: {key} is {_by(self.weights.specs[key].shape)}, not {_by(shape)}")
        delta = BiasDelta(added, pair.scale) if added and pair else None
        return Change(found[0] if found else "", bias=delta)


def _shape(base: BaseModel, name: str) -> tuple[int, ...] | None:
    """Shape of a base tensor; an output matrix that is tied to the embeddings has theirs."""
    if name == OUTPUT and base.config.tie_word_embeddings:
        name = EMBEDDINGS
    return base.specs[name].shape if name in base.specs else None


def same_values(left: Weights, left_name: str, right: Weights, right_name: str, *, exact: bool = False) -> bool:
    """Whether two tensors hold the same values, read in chunks: once both are of the right one's type, or exactly."""
    spec = right.specs[right_name]
    if left.specs[left_name].shape != spec.shape:
        return False
    for start, stop in row_chunks(spec):
        ours, theirs = left.read_rows(left_name, start, stop), right.read_rows(right_name, start, stop)
        if not (ours.float() if exact else ours.to(theirs.dtype)).equal(theirs.float() if exact else theirs):
            return False
    return True


def misfit(folder: Path, base: BaseModel, reason: str) -> ToolError:
    """The error for an adapter that belongs to another base."""
    return ToolError(f"adapter {folder} was trained on another model than {base.folder}: {reason}")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _check_coverage(folder: Path, config: AdapterConfig, changes: Mapping[str, Change], base: BaseModel) -> None:
    """What the configuration names and what the file holds must agree: PEFT only warns where they do not."""
    names = [*base.specs, *([OUTPUT] if OUTPUT not in base.specs else [])]
    modules = [name.removesuffix(".weight") for name in names if name.endswith(".weight")]
    linears = {module for module in modules if len(_shape(base, f"{module}.weight") or ()) == 2}
    have = {name.removesuffix(".weight") for name, change in changes.items() if change.pair}
    expected = {module for module in linears if config.targets(module)}
    sides = {*_VOCABULARY}
    if config.ensure_weight_tying and base.config.tie_word_embeddings and expected & sides and have >= sides:
        expected |= sides  # the other side's are saved too
    _check_factors(folder, base, have, expected)
    lost = [
        f"{module}.weight"
        for module in modules
        if config.saves(module)
        and not changes.get(f"{module}.weight", Change()).full
        and f"{module}.weight" in base.specs
    ]
    lost += [
        f"{module}.token_adapter.trainable_tokens_delta"
        for module in linears
        if config.token_indices(module) and not changes.get(f"{module}.weight", Change()).tokens
        if not (module == _OUTPUT_MODULE and base.config.tie_word_embeddings)
    ]
    lost += [
        name
        for name in base.specs
        if name.endswith(".bias") and not changes.get(name, Change()).full
        if config.bias == "all" or (config.bias == "lora_only" and name.removesuffix(".bias") in have)
    ]
    if lost:
        raise ToolError(f"{folder} is incomplete: its adapter_config.json promises {some(sorted(lost))}")


def _check_factors(folder: Path, base: BaseModel, have: set[str], expected: set[str]) -> None:
    missing = sorted(expected - have)
    untouched = {_layer(module) for module in missing} - {_layer(module) for module in have}
    if missing and all(_layer(module) in untouched for module in missing):
        raise misfit(folder, base, f"the adapter has nothing for layers {', '.join(sorted(untouched))}")
    if missing:
        raise ToolError(f"{folder} is incomplete: its adapter_config.json promises factors for {some(missing)}")
    extra = sorted(have - expected)
    if extra:
        raise ToolError(f"{folder} holds factors for {some(extra)}, which its adapter_config.json does not target")


def _layer(module: str) -> str:
    match = re.search(r"\.layers\.(\d+)\.", module)
    return match[1] if match else "outside the blocks"
