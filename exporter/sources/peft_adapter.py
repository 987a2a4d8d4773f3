"""A PEFT adapter folder: every tensor accounted for, or a refusal that names what does not fit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ToolError
from exporter.sources.adapter_config import AdapterConfig, read_adapter_config
from exporter.sources.huggingface import OUTPUT, BaseModel
from exporter.sources.weight_files import WeightFiles, open_checkpoint, some
from exporter.tensor import row_chunks

if TYPE_CHECKING:
    from torch import Tensor

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@dataclass(frozen=True, slots=True)
class LoraPair:
    """Where one weight's factors are, and what they are multiplied by."""

    a_name: str
    b_name: str
    rank: int
    scale: float


@dataclass(frozen=True, slots=True)
class Adapter:
    """A checked adapter: it fits its base, every tensor of it is used once, every value is finite."""

    folder: Path
    config: AdapterConfig
    weights: WeightFiles
    pairs: Mapping[str, LoraPair]
    """By the name of the base tensor they change."""
    weight: float = 1.0
    """What the user scaled this adapter by."""

    @property
    def name(self) -> str:
        """The folder's name: what a manifest calls this adapter."""
        return self.folder.resolve().name

    def read_a(self, pair: LoraPair) -> Tensor:
        """The whole of A [rank, columns], float32."""
        return self.weights.read_rows(pair.a_name, 0, pair.rank).float()

    def read_b(self, pair: LoraPair, start: int, stop: int) -> Tensor:
        """Rows of B [stop - start, rank], float32."""
        return self.weights.read_rows(pair.b_name, start, stop).float()


def open_adapter(folder: Path, base: BaseModel, *, weight: float = 1.0) -> Adapter:
    """Open an adapter and check it against its base.

    Raises:
        ConfigError: no adapter there.
        ToolError: a variant that cannot be merged, another model's adapter, or a damaged one.
    """
    config = read_adapter_config(folder)
    weights = open_checkpoint(folder, ("adapter_model",))
    adapter = Adapter(folder, config, weights, _account(folder, config, weights, base), weight)
    _check_finite(adapter)
    return adapter


def _account(folder: Path, config: AdapterConfig, weights: WeightFiles, base: BaseModel) -> dict[str, LoraPair]:
    """Pair every A with its B and every pair with its base tensor; nothing may be left over on either side."""
    sides: dict[str, dict[str, str]] = {}
    strangers = []
    for key in weights.specs:
        match = _KEY.fullmatch(key)
        if match:
            sides.setdefault(match["module"], {})[match["side"]] = key
        else:
            strangers.append(key)
    if strangers:
        raise ToolError(f"{folder} holds tensors that are no plain LoRA factors: {some(strangers)}")
    if not sides:
        raise ToolError(f"{folder} holds no LoRA factors at all")
    single = [f"{module}.lora_{'B' if 'A' in found else 'A'}" for module, found in sides.items() if len(found) < 2]
    if single:
        raise ToolError(f"{folder} is incomplete: {some(single)} missing")
    _check_fit(folder, weights, sides, base)
    _check_coverage(folder, config, set(sides), base)
    return {f"{module}.weight": _pair(config, module, weights, found) for module, found in sides.items()}


def _pair(config: AdapterConfig, module: str, weights: WeightFiles, sides: Mapping[str, str]) -> LoraPair:
    rank = weights.specs[sides["A"]].rows
    expected = config.rank_of(module)
    if rank != expected:
        raise ToolError(f"{module} has rank {rank}, by its adapter_config.json it should be {expected}")
    root = math.sqrt(rank) if config.use_rslora else rank
    return LoraPair(sides["A"], sides["B"], rank, config.alpha_of(module) / root)


def _check_fit(folder: Path, weights: WeightFiles, sides: Mapping[str, Mapping[str, str]], base: BaseModel) -> None:
    """Every pair must have a weight in the base, of the shape it was trained for."""
    homeless = [module for module in sides if f"{module}.weight" not in base.specs]
    if f"{OUTPUT}" in [f"{module}.weight" for module in homeless] and base.config.tie_word_embeddings:
        raise ToolError(f"{folder} adapts lm_head, which this base ties to its embeddings: not supported")
    if homeless:
        raise _misfit(folder, base, f"the base has no {some(homeless)}")
    for module, found in sides.items():
        out, into = base.specs[f"{module}.weight"].shape
        a_shape, b_shape = weights.specs[found["A"]].shape, weights.specs[found["B"]].shape
        if len(a_shape) != 2 or len(b_shape) != 2 or a_shape[0] != b_shape[1]:
            raise ToolError(f"{folder}: the factors of {module} do not fit each other: A {a_shape}, B {b_shape}")
        if (b_shape[0], a_shape[1]) != (out, into):
            raise _misfit(
                folder, base, f"{module} is {out} x {into} in the base and {b_shape[0]} x {a_shape[1]} in the adapter"
            )


def _misfit(folder: Path, base: BaseModel, reason: str) -> ToolError:
    return ToolError(f"adapter {folder} was trained on another model than {base.folder}: {reason}")


def _check_coverage(folder: Path, config: AdapterConfig, modules: set[str], base: BaseModel) -> None:
    """target_modules and the tensors must name the same weights: PEFT merges half an adapter with a mere warning."""
    linears = {name.removesuffix(".weight") for name, spec in base.specs.items() if len(spec.shape) == 2}
    expected = {module for module in linears if config.targets(module)}
    missing = sorted(expected - modules)
    untouched = {_layer(module) for module in missing} - {_layer(module) for module in modules}
    if missing and all(_layer(module) in untouched for module in missing):
        raise _misfit(folder, base, f"the adapter has nothing for layers {', '.join(sorted(untouched))}")
    if missing:
        raise ToolError(f"{folder} is incomplete: its adapter_config.json promises factors for {some(missing)}")
    extra = sorted(modules - expected)
    if extra:
        raise ToolError(f"{folder} holds factors for {some(extra)}, which its adapter_config.json does not target")


def _layer(module: str) -> str:
    match = re.search(r"\.layers\.(\d+)\.", module)
    return match[1] if match else "outside the blocks"


def _check_finite(adapter: Adapter) -> None:
    bad = [name for name in adapter.weights.specs if not all(_finite_chunks(adapter.weights, name))]
    if bad:
        raise ToolError(f"{adapter.folder} holds values that are not finite: {some(bad)}", hint="training diverged")


def _finite_chunks(weights: WeightFiles, name: str) -> Iterator[bool]:
    for start, stop in row_chunks(weights.specs[name]):
        yield bool(weights.read_rows(name, start, stop).isfinite().all())
