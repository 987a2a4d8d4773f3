"""Every kind of adapter against PEFT's own merge, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from exporter.ggml.types import FILE_TYPES
from tests import tiny
from tests.exporter.adapters import biased_base, make_adapter, peft_merge, peft_model
from tests.exporter.conftest import merge
from tests.exporter.oracles import LlamaCpp, gguf_tensors, llama_quantize, transformers_logits
from tests.tiny import run_cli

SLOW = pytest.mark.slow
KINDS: dict[str, dict[str, Any]] = {
    "dora": {"use_dora": True, "target_modules": ["q_proj", "down_proj", "lm_head"]},
    "dora, rslora": {"use_dora": True, "use_rslora": True},
    "embedding": {"target_modules": ["v_proj", "embed_tokens", "lm_head"]},
    "whole modules": {"modules_to_save": ["embed_tokens", "lm_head", "norm"]},
    "whole block": {"modules_to_save": ["mlp"], "target_modules": ["q_proj"]},
    "whole linear": {"modules_to_save": ["v_proj"]},
    "tokens": {"trainable_token_indices": [7, 3, 639]},
    "tokens of both": {"trainable_token_indices": {"embed_tokens": [5, 3], "lm_head": [2]}},
    "grown": {"rows": 700},
    "grown, whole": {"rows": 700, "modules_to_save": ["embed_tokens", "lm_head"]},
    "grown, tokens": {"rows": 700, "trainable_token_indices": list(range(640, 700))},
    "grown, embedding": {"rows": 700, "target_modules": ["q_proj", "embed_tokens", "lm_head"]},
}


def check(base: Path, folder: Path, tmp_path: Path, *, rows: int = 0) -> dict[str, torch.Tensor]:
    """Compare our merge with PEFT's; returns ours."""
    output = merge(base, tmp_path / "out", folder, format="huggingface")
    ours = load_file(output / "model.safetensors")
    theirs = peft_merge(base, folder, rows=rows)
    if json.loads((output / "config.json").read_text())["tie_word_embeddings"]:
        theirs.pop("lm_head.weight")
    assert ours.keys() == theirs.keys()
    odd = [name for name in ours if ours[name].dtype != theirs[name].dtype or not torch.equal(ours[name], theirs[name])]
    assert not odd
    assert json.loads((output / "config.json").read_text())["vocab_size"] == (rows or 640)
    return ours


@pytest.mark.parametrize("dtype", ["bfloat16", *(pytest.param(name, marks=SLOW) for name in ("float32", "float16"))])
@pytest.mark.parametrize("kind", KINDS)
def test_merge_is_pefts_bit_for_bit(kind: str, dtype: str, bases: dict[str, Path], tmp_path: Path) -> None:
    rows = KINDS[kind].get("rows", 0)
    folder = make_adapter(bases[dtype], tmp_path / "adapter", **KINDS[kind])
    ours = check(bases[dtype], folder, tmp_path, rows=rows)
    before = load_file(bases[dtype] / "model.safetensors")
    assert any(ours[name].shape != before[name].shape or not torch.equal(ours[name], before[name]) for name in before)


@pytest.fixture(scope="session")
def bases(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"float32": tiny_base} | {
        dtype: tiny.base(folder / dtype, dtype=dtype, seed=2) for dtype in ("bfloat16", "float16")
    }


@pytest.mark.parametrize("file_type", ["q4_0", pytest.param("q5_1", marks=SLOW)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_quantized_dora_is_pefts_merge_converted_and_quantized(
    dtype: str, file_type: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = make_adapter(bases[dtype], tmp_path / "adapter", **KINDS["dora"])
    theirs = Path(shutil.copytree(bases[dtype], tmp_path / "theirs"))
    peft_model(bases[dtype], folder).merge_and_unload().save_pretrained(theirs)
    plain = merge(theirs, tmp_path / "f16.gguf", type="f16", name="m")
    llama_quantize(plain, tmp_path / "theirs.gguf", FILE_TYPES[file_type])
    ours = merge(bases[dtype], tmp_path / "ours.gguf", folder, type=file_type, name="m")
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


BIASES: dict[str, dict[str, Any]] = {
    "lora_bias": {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]},
    "all": {"bias": "all"},
    "lora_only": {"bias": "lora_only", "target_modules": ["q_proj", "o_proj"]},
    "lora_bias of saved biases": {"lora_bias": True, "bias": "all", "target_modules": ["k_proj"]},
}


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float32", marks=SLOW)])
@pytest.mark.parametrize("kind", BIASES)
def test_biases_are_pefts(kind: str, dtype: str, bases: dict[str, Path], tmp_path: Path) -> None:
    base = biased_base(bases[dtype], tmp_path / "base")
    ours = check(base, make_adapter(base, tmp_path / "adapter", **BIASES[kind]), tmp_path)
    before = load_file(base / "model.safetensors")
    names = [name for name in ours if name.endswith("bias")]
    assert len(names) == 8
    assert any(not torch.equal(ours[name], before[name]) for name in names)


def test_lora_bias_needs_a_bias_in_the_base(tiny_base: Path, tmp_path: Path) -> None:
    folder = make_adapter(tiny_base, tmp_path / "adapter", lora_bias=True, target_modules=["q_proj"])
    words = ["--base", tiny_base, "--adapter", folder, "--format", "gguf", "--output", tmp_path / "m.gguf"]
    code, _, err = run_cli("exporter.cli", "merge", *words)
    assert code == 1
    assert "brings a bias for model.layers.0.self_attn.q_proj, which has none in the base" in err


def test_trained_biases_that_were_not_saved_are_missed(tiny_base: Path, tmp_path: Path) -> None:
    base = biased_base(tiny_base, tmp_path / "base")
    folder = make_adapter(base, tmp_path / "adapter", bias="all")
    tensors = load_file(folder / "adapter_model.safetensors")
    lost = tensors.pop("base_model.model.model.layers.1.self_attn.k_proj.bias")
    assert lost.shape == (32,)
    save_file(tensors, folder / "adapter_model.safetensors")
    words = ["--base", base, "--adapter", folder, "--format", "gguf", "--output", tmp_path / "m.gguf"]
    assert "promises model.layers.1.self_attn.k_proj.bias" in run_cli("exporter.cli", "merge", *words)[2]


TIED: dict[str, dict[str, Any]] = {
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "output": {"target_modules": ["q_proj", "lm_head"]},
    "whole embedding": {"modules_to_save": ["embed_tokens"]},
    "whole output": {"modules_to_save": ["lm_head"]},
    "both whole": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "different tokens": {"trainable_token_indices": {"embed_tokens": [3, 5], "lm_head": [4]}},
}
STILL_TIED: dict[str, dict[str, Any]] = {
    "plain": {},
    "tokens": {"trainable_token_indices": [3, 9]},
    "whole, tied": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    "embedding, tied": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "grown": {"rows": 700},
}


@pytest.fixture(scope="session")
def tied_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.base(tmp_path_factory.mktemp("tied") / "base", tied=True, seed=6)


QUICK = {"output", "whole embedding", "different tokens", "tokens", "embedding, tied"}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in QUICK else [SLOW]) for kind in TIED | STILL_TIED]
)
def test_tied_embeddings_part_where_one_side_is_adapted(kind: str, tied_base: Path, tmp_path: Path) -> None:
    """The judge is PEFT's model before its merge, which adds the changes of one side to both."""
    fields = (TIED | STILL_TIED)[kind]
    rows = fields.get("rows", 0)
    folder = make_adapter(tied_base, tmp_path / "adapter", **fields)
    output = merge(tied_base, tmp_path / "out", folder, format="huggingface")
    assert json.loads((output / "config.json").read_text())["tie_word_embeddings"] == (kind in STILL_TIED)
    assert ("lm_head.weight" in load_file(output / "model.safetensors")) == (kind in TIED)
    ids = [1, 3, 4, 5, 9, 200, 639]
    theirs = transformers_logits(peft_model(tied_base, folder, rows=rows), ids)
    ours = transformers_logits(AutoModelForCausalLM.from_pretrained(output), ids)
    assert abs(ours - theirs).max() < 1e-5 * abs(theirs).max() + 1e-5
    gguf = merge(tied_base, tmp_path / "m.gguf", folder, type="f32")
    assert ("output.weight" in gguf_tensors(gguf)) == (kind in TIED)
    assert abs(LlamaCpp(gguf).logits(ids) - theirs).max() < 1e-4
