"""An adapter's `adapter_config.json`: the variants of LoRA that can be merged, and a refusal by name of all others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from configs.errors import ConfigError, ToolError
from exporter.sources.llama_config import read_json

HARMLESS = frozenset({
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "megatron_core", "qalora_group_size", "runtime_config", "eva_config", "corda_config",
    "lora_ga_config", "loftq_config",
})  # fmt: skip
"""Fields that do not change what a merge gives. megatron_core and qalora_group_size are filled in everywhere; the
configurations of initializations stay behind in an adapter that was converted to plain LoRA (`init_lora_weights`)."""

_INITS = {"gaussian", "eva", "orthogonal", "mica"}
"""Ways to initialize A and B that leave the base weights alone; pissa, olora, corda, loftq and lora_ga change them."""


class AdapterConfig(BaseModel):
    """The fields of a LoRA's configuration that decide how it is merged."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    r: int = Field(gt=0)
    lora_alpha: float
    target_modules: list[str] | str
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    bias: Literal["none", "all", "lora_only"] = "none"
    modules_to_save: list[str] | None = None
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None
    ensure_weight_tying: bool = False
    init_lora_weights: bool | str = True

    @model_validator(mode="after")
    def _check_patterns(self) -> Self:
        patterns = [*self.rank_pattern, *self.alpha_pattern]
        patterns += [names for names in (self.target_modules, self.exclude_modules) if isinstance(names, str)]
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression") from error
        return self

    def rank_of(self, module: str) -> int:
        """The rank that the configuration gives a module."""
        return next((rank for key, rank in self.rank_pattern.items() if _is_named(key, module)), self.r)

    def alpha_of(self, module: str) -> float:
        """The alpha that the configuration gives a module."""
        return next((alpha for key, alpha in self.alpha_pattern.items() if _is_named(key, module)), self.lora_alpha)

    def targets(self, module: str) -> bool:
        """Whether the configuration says that this module of the base is adapted."""
        if self.saves(module) or (self.exclude_modules and _matches(self.exclude_modules, module)):
            return False
        return _matches(self.target_modules, module) and (
            isinstance(self.target_modules, str) or self._in_layers(module)
        )

    def saves(self, module: str) -> bool:
        """Whether the configuration says that this module is trained and saved whole."""
        parts = module.split(".")
        paths = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]  # a block counts with all it holds
        return any(path.endswith(name) for name in self.modules_to_save or () for path in paths)

    def token_indices(self, module: str) -> list[int]:
        """The rows of an embedding or output matrix that are trained on their own."""
        chosen = self.trainable_token_indices or {}
        by_name = chosen if isinstance(chosen, dict) else {"embed_tokens": chosen}
        return next((rows for name, rows in by_name.items() if _matches([name], module)), [])

    def _in_layers(self, module: str) -> bool:
        if self.layers_to_transform is None or self.layers_to_transform == []:
            return True
        patterns = [self.layers_pattern] if isinstance(self.layers_pattern, str) else self.layers_pattern
        for pattern in patterns or [r"[^.]*"]:
            match = re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", module)
            if match:
                layers = self.layers_to_transform
                return int(match[1]) in (layers if isinstance(layers, list) else [layers])
        return False


def _is_named(key: str, module: str) -> bool:
    return re.match(rf"(.*\.)?({key})$", module) is not None


def _matches(names: list[str] | str, module: str) -> bool:
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names)


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Read an adapter's configuration.

    Raises:
        ConfigError: the folder holds no adapter.
        ToolError: it is of a kind that cannot be merged; the field that says so is named.
    """
    path = folder / "adapter_config.json"
    if not path.is_file():
        raise ConfigError(f"{folder} has no adapter_config.json", hint="an adapter is a folder that PEFT has saved")
    table = read_json(path)
    if table.get("peft_type") != "LORA":
        raise ToolError(f"{folder} is a {table.get('peft_type')} adapter; only LORA can be merged")
    if (folder / "new_embeddings.safetensors").exists():
        raise ToolError(
            f"{folder} brings new_embeddings.safetensors, which belongs to no PEFT adapter and cannot be merged",
            hint="put the new rows into the base's embeddings, or train them with modules_to_save",
        )
    _refuse_variants(folder, table)
    try:
        return AdapterConfig.model_validate(table)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or problem["msg"] for problem in error.errors())
        raise ToolError(f"{path} is no LoRA's: {fields} missing or wrong") from error


def _refuse_variants(folder: Path, table: dict[str, Any]) -> None:
    init = table.get("init_lora_weights", True)
    if isinstance(init, str) and init not in _INITS:
        raise ToolError(
            f"{folder} uses what cannot be merged: init_lora_weights={_short(init)}, which changes the base too",
            hint="save it once more as plain LoRA: save_pretrained(…, path_initial_model_for_weight_conversion=…)",
        )
    known = AdapterConfig.model_fields.keys() | HARMLESS
    refused = [f"{name}={_short(value)}" for name, value in table.items() if value and name not in known]
    if refused:
        raise ToolError(f"{folder} uses what cannot be merged: {', '.join(refused)}")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
