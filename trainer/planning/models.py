"""The model that a plan is about: a folder's, the hub's, or one of the usual sizes. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, ToolError, require
from trainer.base import HUB_ID

_LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 55_296, "torch_dtype": "bfloat16"}
SIZES: dict[str, dict[str, Any]] = {
    "1.3b": _LLAMA
    | {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 4, "num_attention_heads": 32},
    "7b": _LLAMA
    | {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "13b": _LLAMA
    | {"hidden_size": 5120, "intermediate_size": 13_824, "num_hidden_layers": 40, "num_attention_heads": 40},
}
"""Llama 2's shapes with the Chinese vocabulary of 55,296 words."""


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model's name and the content of its config.json."""

    name: str
    config: dict[str, Any]


def read_model(source: str) -> PlannedModel:
    """A size such as `7b`, a folder with a config.json, or a hub id; no weights are read or fetched.

    Raises:
        ConfigError: it is none of them, or its config.json is no model's.
        ToolError: the hub did not give it.
    """
    if source.lower() in SIZES:
        return PlannedModel(source.lower(), SIZES[source.lower()])
    folder = Path(source).expanduser()
    path = folder / "config.json"
    if not folder.is_dir():
        if not HUB_ID.fullmatch(source) or folder.parent.is_dir():
            raise ConfigError(
                f"the model {source} does not exist", hint=f"give a folder, a hub id, or one of {', '.join(SIZES)}"
            )
        path = _fetched(source)
    if not path.is_file():
        raise ConfigError(f"{folder} has no config.json", hint="a base model in Hugging Face layout is needed")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ConfigError(f"{path} is not a model configuration")
    return PlannedModel(source, config)


def _fetched(source: str) -> Path:
    hub = require("huggingface_hub", "train")
    try:
        return Path(hub.hf_hub_download(source, "config.json"))
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ToolError(f"there is no folder {source}, and the hub did not give it: {first_line}") from error
