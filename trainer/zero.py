"""The DeepSpeed configuration: a shipped file or the user's, checked against the settings, which are the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs import files
from configs.errors import ConfigError, did_you_mean
from trainer.settings import Settings

_DERIVED = {
    "train_micro_batch_size_per_gpu": "training.batch_size",
    "gradient_accumulation_steps": "training.accumulation",
    "gradient_clipping": "training.max_grad_norm",
    "train_batch_size": "training.batch_size, training.accumulation and --gpus",
    "bf16.enabled": "model.precision",
    "fp16.enabled": "model.precision",
}
"""What a configuration leaves `auto`, and the settings that decide it."""
_SECTIONS = {
    "optimizer": "set training.optimizer and training.learning_rate",
    "scheduler": "set training.scheduler",
    "amp": "set model.precision",
    "torch_autocast": "set model.precision",
    "data_types": "set model.precision",
    "activation_checkpointing": "set training.gradient_checkpointing",
    "tensorboard": "give --report-to",
    "wandb": "give --report-to",
}
"""Sections that a configuration must not have, and what does their work."""
_KNOWN = {
    *_DERIVED, "bf16", "fp16", "zero_optimization", "zero_allow_untested_optimizer", "zero_force_ds_cpu_optimizer",
    "communication_data_type", "prescale_gradients", "gradient_predivide_factor", "disable_allgather",
    "disable_python_gc", "steps_per_print", "wall_clock_breakdown", "memory_breakdown", "dump_state", "flops_profiler",
    "comms_logger", "timers", "log_level", "aio",
}  # fmt: skip
"""What a configuration may say. DeepSpeed reads no further than the names it knows: a misspelt section would be no
section."""
_OLD = {"cpu_offload": "offload_optimizer", "cpu_offload_param": "offload_param"}
"""Names that DeepSpeed once had, and those of today."""
_OFFLOADS = {"offload_optimizer": (1, "zero2-offload"), "offload_param": (3, "zero3-offload")}
"""(lowest stage that offloads, shipped configuration that does) of each part."""


def deepspeed_config(name_or_path: str, settings: Settings, *, on_gpu: bool) -> dict[str, Any] | None:
    """Read a DeepSpeed configuration, or None for `none`.

    Raises:
        ConfigError: no such file, not JSON, an unknown name, a section or number that the settings decide, an offload
            that the stage does not have.
    """
    if name_or_path == "none":
        return None
    path = files.find("deepspeed", name_or_path)
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is not a DeepSpeed configuration")
    _check_names(config, path)
    _leave_to_settings(config, path)
    _check_zero(config, path)
    _check_forced_optimizer(config, path, settings)
    if not on_gpu:
        _use_pageable_memory(config)
    return config


def _check_names(config: dict[str, Any], path: Path) -> None:
    for section, remedy in _SECTIONS.items():
        if section in config:
            raise ConfigError(
                f"{path} has a section '{section}', which the settings decide", hint=f"leave it out and {remedy}"
            )
    for name in config:
        if name not in _KNOWN:
            raise ConfigError(
                f'{path} has "{name}", which is nothing that this training knows',
                hint=did_you_mean(name, _KNOWN, "leave it out"),
            )


def _leave_to_settings(config: dict[str, Any], path: Path) -> None:
    """Everything the settings decide is `auto`: what the file does not say DeepSpeed would decide otherwise."""
    for name, decides in _DERIVED.items():
        section, _, key = name.rpartition(".")
        holder = config.setdefault(section, {}) if section else config
        if not isinstance(holder, dict):
            raise ConfigError(f"{path}: '{section}' is not a section")
        if holder.setdefault(key, "auto") != "auto":
            verb = "decide" if " " in decides else "decides"
            raise ConfigError(
                f'{path} has "{name}": {json.dumps(holder[key])}, which {decides} {verb}',
                hint='leave it out, or "auto"',
            )


def _check_zero(config: dict[str, Any], path: Path) -> None:
    zero = config.setdefault("zero_optimization", {"stage": 0})
    if not isinstance(zero, dict):
        raise ConfigError(f"{path}: 'zero_optimization' is not a section", hint='write {"stage": 2}')
    stage = zero.get("stage", 0)
    if not isinstance(stage, int) or isinstance(stage, bool) or not 0 <= stage <= 3:
        raise ConfigError(f"{path}: ZeRO stage {json.dumps(stage)} does not exist", hint="stages are 0, 1, 2 and 3")
    for old, new in _OLD.items():
        if old in zero:
            raise ConfigError(f'{path} has "{old}" as of old', hint=f'write "{new}": {{"device": "cpu"}}')
    if zero.get("compute_grad_norm") is False:
        raise ConfigError(f"{path} leaves gradients unmeasured, and none could be clipped", hint="no compute_grad_norm")
    for part, (lowest, shipped) in _OFFLOADS.items():
        offload = zero.get(part) or {}
        if not isinstance(offload, dict):
            raise ConfigError(f"{path}: '{part}' is not a section", hint='write {"device": "cpu"}')
        device = offload.get("device", "none")
        if device == "none":
            zero.pop(part, None)
        elif device != "cpu":
            raise ConfigError(f"{path}: {part} to '{device}' is not trained with", hint=f"--deepspeed {shipped}")
        elif stage < lowest:
            raise ConfigError(f"{path}: ZeRO stage {stage} has no {part}", hint=f"--deepspeed {shipped}")


def _check_forced_optimizer(config: dict[str, Any], path: Path, settings: Settings) -> None:
    """Without a word of ours DeepSpeed insists on its own Adam for a CPU, and builds it for minutes."""
    key = "zero_force_ds_cpu_optimizer"
    if config.get(key) is True and settings.training.optimizer != "cpu_adam":
        raise ConfigError(
            f'{path} has "{key}": true, which builds an optimizer in C++', hint="--set training.optimizer=cpu_adam"
        )
    config[key] = False


def _use_pageable_memory(config: dict[str, Any]) -> None:
    for part in _OFFLOADS:
        if part in config["zero_optimization"]:
            config["zero_optimization"][part]["pin_memory"] = False


def check_with_deepspeed(config: dict[str, Any], name: str) -> None:
    """Let DeepSpeed read its own section before a model is loaded for it.

    Raises:
        ConfigError: a name or a value in it that DeepSpeed does not take.
    """
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    try:
        DeepSpeedZeroConfig(**{key: value for key, value in config["zero_optimization"].items() if value != "auto"})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("zero_optimization", *first["loc"])))
        raise ConfigError(
            f"DeepSpeed does not take {where} = {json.dumps(first['input'])} of {name}: {first['msg'].lower()}"
        ) from error
