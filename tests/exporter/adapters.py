"""Adapters of every kind that PEFT makes, with random values in all that it trains, and PEFT's own merge of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch


def make_adapter(base: Path, folder: Path, *, rows: int = 0, seed: int = 5, **fields: Any) -> Path:
    """Save a PEFT adapter.

    Args:
        rows: resize the vocabulary in memory before, as people do.
        fields: of LoraConfig; r=6, alpha=8 (scale 4/3) and two linears unless told.
    """
    import peft

    model = _model(base, rows)
    config = peft.LoraConfig(
        **{"r": 6, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"} | fields
    )
    tuned = peft.get_peft_model(model, config)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=draw).to(parameter.dtype)
                parameter.add_(noise * 0.05)
    tuned.save_pretrained(folder)
    return folder


def peft_model(base: Path, adapter: Path, *, rows: int = 0) -> Any:
    """PEFT's model, not merged."""
    import peft

    return peft.PeftModel.from_pretrained(_model(base, rows), adapter).eval()


def peft_merge(base: Path, adapter: Path, *, rows: int = 0) -> dict[str, torch.Tensor]:
    """The state dict of PEFT's merge."""
    merged = peft_model(base, adapter, rows=rows).merge_and_unload()
    return dict(merged.state_dict())


def _model(base: Path, rows: int) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    if rows:
        torch.manual_seed(rows)
        model.resize_token_embeddings(rows, mean_resizing=False)
    return model


def biased_base(base: Path, folder: Path) -> Path:
    """A copy of a base with biases on q, k, v and o."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(base, folder)
    config = LlamaConfig.from_pretrained(base)
    config.attention_bias = True
    torch.manual_seed(1)
    model = LlamaForCausalLM(config).to(config.dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    model.save_pretrained(folder)
    return folder
