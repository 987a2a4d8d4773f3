"""The base as the quantizer left it, against bitsandbytes itself (its CPU kernels)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from exporter.as_trained import read_quantizer
from exporter.transforms import bitsandbytes_values as values
from tests import tiny
from tests.exporter.adapters import make_adapter
from tests.exporter.conftest import merge
from tests.tiny import run_cli

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
WAYS = {
    "4 bits, f32": (NF4, "float32"),
    "4 bits, bf16": (NF4, "bfloat16"),
    "4 bits, one level": (NF4 | {"bnb_4bit_use_double_quant": False}, "bfloat16"),
    "8 bits, f32": ({"load_in_8bit": True}, "float32"),
    "8 bits, bf16": ({"load_in_8bit": True}, "bfloat16"),
}


@pytest.fixture(scope="session")
def wide_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for several chunks and for several blocks of blocks; rows of 72 are not whole blocks of 64."""
    return tiny.base(
        tmp_path_factory.mktemp("wide") / "base",
        hidden=72,
        heads=4,
        intermediate=1024,
        layers=1,
        dtype="float16",
        seed=12,
    )


def record(folder: Path, quantization: dict[str, Any], compute: str) -> Path:
    table = {"quantization": quantization, "compute_type": compute, "device": "cpu"}
    if "load_in_4bit" in quantization:
        table["quantization"] = quantization | {"bnb_4bit_compute_dtype": compute}
    (folder / "training.json").write_text(json.dumps(table))
    return folder


def quantized_model(base: Path, quantization: dict[str, Any], compute: str) -> dict[str, torch.Tensor]:
    """Every weight of transformers' quantized model, dequantized by bitsandbytes."""
    import bitsandbytes
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options = BitsAndBytesConfig(**quantization, bnb_4bit_compute_dtype=compute)
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=getattr(torch, compute), quantization_config=options, device_map={"": "cpu"}
    )
    found = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            found[f"{name}.weight"] = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            found[f"{name}.weight"] = bitsandbytes.functional.int8_vectorwise_dequant(weight.data, weight.SCB)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_base_and_merge_are_those_of_training(way: str, wide_base: Path, tmp_path: Path) -> None:
    """Weights that no adapter touches are bitsandbytes' values; the others, those and the delta, rounded once."""
    quantization, compute = WAYS[way]
    adapter = record(make_adapter(wide_base, tmp_path / "adapter", target_modules=["up_proj"]), quantization, compute)
    output = merge(wide_base, tmp_path / "out", adapter, "--as-trained", format="huggingface", threads=2)
    ours, theirs = load_file(output / "model.safetensors"), quantized_model(wide_base, quantization, compute)
    factors = load_file(adapter / "adapter_model.safetensors")
    stem = "base_model.model.model.layers.0.mlp.up_proj.lora_"
    delta = torch.mm(factors[f"{stem}B.weight"].float(), factors[f"{stem}A.weight"].float()) * (8 / 6)
    theirs["model.layers.0.mlp.up_proj.weight"] = delta + theirs["model.layers.0.mlp.up_proj.weight"]
    expected = {name: tensor.to(getattr(torch, compute)) for name, tensor in theirs.items()}
    assert ours.keys() == expected.keys()
    assert [name for name in ours if not torch.equal(ours[name], expected[name])] == []
    assert json.loads((output / "config.json").read_text())["dtype"] == compute
    plain = load_file(merge(wide_base, tmp_path / "plain", adapter, format="huggingface") / "model.safetensors")
    assert not torch.equal(
        plain["model.layers.0.mlp.gate_proj.weight"].float(), ours["model.layers.0.mlp.gate_proj.weight"].float()
    )


@pytest.mark.parametrize("double", [True, False])
def test_last_block_of_an_odd_size_is_short(double: bool, tmp_path: Path) -> None:
    """One key-value head of 18 x 72 weights: 20 blocks of 64 and 16 weights more."""
    base = tiny.base(tmp_path / "base", hidden=72, heads=4, kv_heads=1, intermediate=100, layers=1, seed=13)
    way = NF4 | {"bnb_4bit_use_double_quant": double}
    adapter = record(make_adapter(base, tmp_path / "adapter", target_modules=["up_proj"]), way, "bfloat16")
    output = merge(base, tmp_path / "out", adapter, "--as-trained", format="huggingface")
    ours, theirs = load_file(output / "model.safetensors"), quantized_model(base, way, "bfloat16")
    name = "model.layers.0.self_attn.k_proj.weight"
    assert ours[name].numel() % 64 == 16
    assert torch.equal(ours[name], theirs[name].bfloat16())


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_of_many_blocks(double: bool, dtype: torch.dtype) -> None:
    from bitsandbytes import functional

    weight = torch.randn((1024, 512), generator=torch.Generator().manual_seed(1)).to(dtype) * 0.02
    weight[3, :64] = 0
    stored, state = functional.quantize_4bit(weight, blocksize=64, compress_statistics=double, quant_type="nf4")
    maxima = values.block_maxima(weight)
    kept = values.stored_maxima(maxima, on_cpu=True) if double else maxima
    parts = [values.nf4_values(weight[start : start + 100], start, maxima, kept) for start in range(0, 1024, 100)]
    assert torch.equal(torch.cat(parts), functional.dequantize_4bit(stored, state))
    if double:  # the GPU's kernel takes the nearest value, which is another one for a few
        assert (values.stored_maxima(maxima, on_cpu=False) != kept).sum() < 0.01 * kept.numel()


def test_rows_of_zeros_stay_zero() -> None:
    assert values.int8_values(torch.zeros(2, 64)).eq(0).all()
    assert values.nf4_values(torch.zeros(2, 64), 0, torch.zeros(2), torch.zeros(2)).eq(0).all()


def test_plan_and_stderr_name_which_base_it_is(wide_base: Path, tmp_path: Path) -> None:
    adapter = record(make_adapter(wide_base, tmp_path / "adapter"), NF4, "float32")
    words = ["merge", "--base", wide_base, "--adapter", adapter, "--format", "gguf", "--output", tmp_path / "m.gguf"]
    _, out, err = run_cli("exporter.cli", *words, "--dry-run")
    assert "is merged onto the original weights; --as-trained merges" in out
    assert "was trained on a 4-bit (NF4, blocks of 64, double quantization, f32) base" in err
    _, out, err = run_cli("exporter.cli", *words, "--dry-run", "--as-trained")
    assert "as the quantizer left it for training: 4-bit (NF4" in out
    assert "as the quantizer left it for training: 4-bit (NF4" in err
    assert run_cli("exporter.cli", *words)[0] == 0
    code, _, err = run_cli("exporter.cli", *words, "--as-trained")
    assert code == 2
    assert "--overwrite" in err
    assert run_cli("exporter.cli", *words, "--as-trained", "--overwrite")[0] == 0
    code, out, _ = run_cli("exporter.cli", "verify", tmp_path / "m.gguf", "--base", wide_base, "--adapter", adapter)
    assert (code, "nothing differs" in out) == (0, True)
    record(adapter, {"load_in_8bit": True}, "float32")
    assert run_cli("exporter.cli", *words, "--as-trained")[0] == 2


def test_as_trained_needs_adapters_that_say_how(wide_base: Path, tmp_path: Path) -> None:
    plain = make_adapter(wide_base, tmp_path / "plain")
    four = record(make_adapter(wide_base, tmp_path / "four"), NF4, "float32")
    eight = record(make_adapter(wide_base, tmp_path / "eight"), {"load_in_8bit": True}, "float32")
    for adapters in ([], [plain], [four, plain], [four, eight]):
        words = [word for folder in adapters for word in ("--adapter", folder)]
        words += ["--base", wide_base, "--format", "gguf", "--output", tmp_path / "m.gguf", "--as-trained"]
        code, _, err = run_cli("exporter.cli", "merge", *words)
        assert code == 2
        assert "--as-trained is for adapters that were trained on one and the same quantized base" in err
    record(four, NF4 | {"bnb_4bit_quant_type": "fp4"}, "float32")
    words = ["--adapter", four, "--base", wide_base, "--format", "gguf", "--output", tmp_path / "m.gguf"]
    assert "quantization that is not known here" in run_cli("exporter.cli", "merge", *words, "--as-trained")[2]


def test_records_of_other_programs_are_passed_over(tmp_path: Path) -> None:
    for text in ("no json", "[]", "{}", '{"quantization": null}', '{"quantization": "nf4"}'):
        (tmp_path / "training.json").write_text(text)
        assert read_quantizer(tmp_path) is None
