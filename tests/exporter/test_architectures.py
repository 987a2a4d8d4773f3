"""Mistral, Qwen2, Qwen3 and Llama 3: the same logits as transformers, the same keys as llama.cpp's converter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.ggml.types import FILE_TYPES
from tests import tiny
from tests.exporter import byte_level
from tests.exporter.conftest import merge
from tests.exporter.oracles import LlamaCpp, gguf_keys, llama_quantize, peft_merged_model, transformers_logits
from tests.tiny import run_cli

IDS = [*range(300, 340), 17, 250, 33, 400, 5, 450]


def differences(base: Path, folder: Path, ids: list[int] = IDS, *adapters: Path) -> float:
    """The largest difference between transformers' logits and those of an f32 GGUF."""
    engine = LlamaCpp(merge(base, folder / "m.gguf", *adapters, type="f32"))
    found = engine.logits(ids)
    engine.close()
    return float(np.abs(found - transformers_logits(peft_merged_model(base, *adapters), ids)).max())


@pytest.mark.parametrize(
    ("architecture", "values"),
    [
        ("qwen2", {}), ("qwen2", {"tied": True, "spare_rows": 20}), ("qwen3", {"head_dim": 32}),
        ("llama", {"tied": True, "attention_bias": True, "mlp_bias": True}),
    ],
    ids=["qwen2", "qwen2 tied", "qwen3", "llama 3"],
)  # fmt: skip
def test_logits_are_transformers(architecture: str, values: dict[str, Any], tmp_path: Path) -> None:
    base = byte_level.model(tmp_path / "base", architecture, **values)
    assert differences(base, tmp_path) < 1e-4


def test_adapter_on_qwen2(tmp_path: Path) -> None:
    base = byte_level.model(tmp_path / "base", "qwen2")
    (base / "tokenizer.model").write_text("")  # tiny.adapter copies one
    adapter = tiny.adapter(base, tmp_path / "adapter")
    for folder in (base, adapter):
        (folder / "tokenizer.model").unlink()
    assert differences(base, tmp_path, IDS, adapter) < 1e-4
    code, _, err = run_cli(
        "exporter.cli", "adapter", "--adapter", adapter, "--base", base, "--output", tmp_path / "lora.gguf"
    )
    assert code == 0, err
    plugged = LlamaCpp(merge(base, tmp_path / "base.gguf", type="f32"), tmp_path / "lora.gguf")
    assert np.abs(plugged.logits(IDS) - transformers_logits(peft_merged_model(base, adapter), IDS)).max() < 1e-4
    plugged.close()


def test_mistral_is_a_llama(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, MistralConfig

    base = tiny.base(tmp_path / "base")
    table = json.loads((base / "config.json").read_text())
    config = MistralConfig(**{key: value for key, value in table.items() if key not in ("model_type", "architectures")})
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    assert json.loads((base / "config.json").read_text())["architectures"] == ["MistralForCausalLM"]
    assert differences(base, tmp_path) < 1e-4
    assert gguf_keys(tmp_path / "m.gguf")["general.architecture"] == "llama"


@pytest.mark.parametrize(
    ("rope", "most"),
    [
        ({"rope_type": "linear", "factor": 4.0}, 1e-3),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 1e-3),
        (
            {
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
            1e-3,
        ),
    ],
    ids=["linear", "yarn", "llama3"],
)  # fmt: skip
def test_stretched_positions(rope: dict[str, Any], most: float, tmp_path: Path) -> None:
    ids = [*range(300, 500)]
    base = byte_level.model(
        tmp_path / "base",
        "llama",
        sharp=4.0,
        rope_parameters={"rope_theta": 10000.0, **rope},
        max_position_embeddings=256,
    )
    assert differences(base, tmp_path, ids) < most
    table = json.loads((base / "config.json").read_text())
    table["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    wrong = LlamaCpp(merge(base, tmp_path / "stretched.gguf", type="f32"))
    (base / "config.json").write_text(json.dumps(table))
    right = transformers_logits(peft_merged_model(base), ids)
    assert np.abs(wrong.logits(ids) - right).max() > 0.1  # the test can see the stretching
    wrong.close()


def quantized(architecture: str, folder: Path) -> Path:
    """A base whose rows are whole blocks of every type."""
    wide = {"hidden_size": 256, "intermediate_size": 512, "layers": 4}
    if architecture == "mistral":
        return byte_level.model(folder, "mistral", kind="llama-bpe", head_dim=64, **wide)
    return byte_level.model(folder, architecture, **wide)


@pytest.mark.parametrize(
    "architecture", ["qwen2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "mistral", "llama"))]
)
def test_quantized_files_are_llama_quantizes(architecture: str, tmp_path: Path) -> None:
    """Whole files: names, order, types of each architecture's tensors, biases and norms of heads among them."""
    base = quantized(architecture, tmp_path / "base")
    plain = merge(base, tmp_path / "f16.gguf", type="f16", name="m")
    for file_type in ("q4_0", "q8_0", "q4_k_m", "q3_k_m", "iq4_xs"):
        llama_quantize(plain, tmp_path / "theirs.gguf", FILE_TYPES[file_type])
        ours = merge(base, tmp_path / f"{file_type}.gguf", type=file_type, name="m")
        assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes(), file_type


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "MixtralForCausalLM", "Qwen2MoeForCausalLM", "Gemma2ForCausalLM"])
def test_other_architectures_are_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [name]}))
    code, _, err = run_cli(
        "exporter.cli", "merge", "--base", tmp_path, "--format", "gguf", "--output", tmp_path / "x" / "m.gguf"
    )
    assert code == 2
    assert name in err
    assert "Qwen3ForCausalLM" in err


@pytest.mark.parametrize(
    ("values", "noted"),
    [
        ({"sliding_window": 512, "use_sliding_window": True}, True),
        ({"sliding_window": 512, "use_sliding_window": False}, False),
        ({"sliding_window": 4096, "use_sliding_window": True}, False),
    ],
)
def test_narrow_attention_is_said(values: dict[str, Any], noted: bool, tmp_path: Path) -> None:
    base = byte_level.model(tmp_path / "base", "qwen2")
    table = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(table | values))
    words = ["--base", base, "--format", "gguf", "--output", tmp_path / "m.gguf", "--dry-run"]
    code, _, err = run_cli("exporter.cli", "merge", *words)
    assert code == 0
    assert ("attends to the last 512 tokens" in err) is noted
