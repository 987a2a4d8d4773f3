"""An adapter's `adapter_config.json`: the variants of LoRA that can be merged, and a refusal by name of all others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from configs.errors import ConfigError, ToolError
from exporter.sources.llama_config import read_json

_HARMLESS = {
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "megatron_core", "qalora_group_size", "runtime_config", "eva_config",
}  # fmt: skip
"""Fields that do not change what a merge gives. (megatron_core and qalora_group_size are filled in everywhere.)"""

_INITS = {"gaussian", "eva", "orthogonal"}
"""Ways to initialize A that leave the base weights alone; pissa, olora, corda, loftq and lora_ga change them."""


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
        if self.exclude_modules and _matches(self.exclude_modules, module):
            return False
        return _matches(self.target_modules, module) and (
            isinstance(self.target_modules, str) or self._in_layers(module)
        )

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
        raise ToolError(f"{folder} brings new_embeddings.safetensors, which cannot be merged")
    refused = [f"{name}={_short(value)}" for name, value in table.items() if not _known(name, value)]
    if refused:
        raise ToolError(f"{folder} uses what cannot be merged yet: {', '.join(refused)}")
    try:
        return AdapterConfig.model_validate(table)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or problem["msg"] for problem in error.errors())
        raise ToolError(f"{path} is no LoRA's: {fields} missing or wrong") from error


def _known(name: str, value: Any) -> bool:
    if not value or name in AdapterConfig.model_fields or name in _HARMLESS:
        return True
    if name == "init_lora_weights":
        return value is True or value in _INITS
    return name == "bias" and value == "none"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
