"""Parameter groups: PEFT's own LoRA+ is the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer
from transformers import AutoModelForCausalLM

from trainer.model import add_adapter, free_weights, freeze
from trainer.optimizer import parameter_groups
from trainer.settings import Settings, load_settings


def adapted(base: Path, *overrides: str) -> tuple[torch.nn.Module, Settings]:
    """The tiny base as it is trained under settings."""
    settings = load_settings(overrides=overrides)
    model = freeze(AutoModelForCausalLM.from_pretrained(base), settings)
    trained = add_adapter(model, settings) if settings.training.method == "lora" else free_weights(model, settings)
    return trained, settings


def by_parameter(model: torch.nn.Module, groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """(learning rate, weight decay) of every trained parameter, by its name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [(names[id(one)], (group["lr"], group["weight_decay"])) for group in groups for one in group["params"]]
    assert len(found) == len(dict(found)), "a parameter is in two groups"
    return dict(found)


@pytest.mark.parametrize("kind", ["", "lora.dora=true", 'lora.modules_to_save=["lm_head"]'])
def test_lora_plus_has_pefts_rates(kind: str, tiny_base: Path) -> None:
    model, settings = adapted(tiny_base, "lora.plus_ratio=16", *filter(None, [kind]))
    theirs = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=settings.training.learning_rate, loraplus_lr_ratio=16
    )  # fmt: skip
    assert by_parameter(model, parameter_groups(model, settings)) == by_parameter(model, theirs.param_groups)


def test_vectors_are_not_decayed_and_plain_lora_has_one_rate(tiny_base: Path) -> None:
    model, settings = adapted(tiny_base, "lora.dora=true", "training.weight_decay=0.1")
    rates = by_parameter(model, parameter_groups(model, settings))
    assert set(rates.values()) == {(2e-4, 0.1), (2e-4, 0.0)}
    assert all((decay == 0) == ("magnitude" in name) for name, (_, decay) in rates.items())


@pytest.mark.parametrize(
    ("method", "trained"), [("embeddings", {"model.embed_tokens.weight", "lm_head.weight"}), ("full", None)]
)
def test_what_is_trained_is_what_the_method_says(method: str, trained: set[str] | None, tiny_base: Path) -> None:
    model, settings = adapted(tiny_base, f"training.method={method}")
    names = by_parameter(model, parameter_groups(model, settings)).keys()
    assert names == (trained or {name for name, _ in model.named_parameters()})
