"""The reference forward against transformers, in float32 and in every rope scaling."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from exporter.plan import make_plan
from exporter.request import MergeRequest
from exporter.verification.reference import Arithmetic, MergedModel, reference_logits
from tests import tiny
from tests.exporter.oracles import peft_merged_model, transformers_logits

IDS = [1, *range(300, 370), 17, 250, 33, 400, 5, 600]


def model_of(base: Path, *adapters: Path, output: Path) -> MergedModel:
    request = MergeRequest(str(base), tuple((str(adapter), 1.0) for adapter in adapters), "huggingface", "", output)
    plan = make_plan(request)
    return MergedModel(plan.base.config, plan.jobs)


def test_forward_is_transformers(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    expected = transformers_logits(peft_merged_model(tiny_base, tiny_adapter), IDS)
    model = model_of(tiny_base, tiny_adapter, output=tmp_path / "x")
    exact, single = reference_logits(model, IDS, [Arithmetic("f64"), Arithmetic("f32")])
    assert np.abs(single.numpy() - expected).max() < 1e-5
    assert np.abs(exact.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "default", "rope_theta": 500.0},
        {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0},
        {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32, "rope_theta": 500.0,
        },
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0},
        {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 1000.0,
            "beta_fast": 4.0, "beta_slow": 2.0, "attention_factor": 1.3,
        },
    ],
    ids=["default", "linear", "llama3", "yarn", "yarn, all set"],
)  # fmt: skip
def test_rope_scalings_are_transformers(rope: dict[str, object], tiny_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"rope_parameters": rope}))
    expected = transformers_logits(peft_merged_model(base), IDS)
    (found,) = reference_logits(model_of(base, output=tmp_path / "x"), IDS, [Arithmetic("f32")])
    assert np.abs(found.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("kind", ["tied", "biased", "no gqa", "gqa 4"])
def test_shapes_of_llama_are_transformers(kind: str, tmp_path: Path) -> None:
    heads = {"no gqa": (4, 4), "gqa 4": (8, 2)}.get(kind, (4, 2))
    base = tiny.base(tmp_path / "base", heads=heads[0], kv_heads=heads[1], tied=kind == "tied", seed=5)
    if kind == "biased":
        add_biases(base)
    expected = transformers_logits(peft_merged_model(base), IDS)
    (found,) = reference_logits(model_of(base, output=tmp_path / "x"), IDS, [Arithmetic("f32")])
    assert np.abs(found.numpy() - expected).max() < 1e-5


def add_biases(base: Path) -> None:
    """Give every attention linear of a base a random bias."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(base / "model.safetensors")
    linears = [name for name in tensors if "self_attn" in name]
    tensors |= {name.replace(".weight", ".bias"): torch.randn(len(tensors[name])) * 0.3 for name in linears}
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"attention_bias": True}))
