"""The merge against PEFT's, the quantized files against llama-quantize's: bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from exporter.ggml.types import FILE_TYPES
from tests import tiny
from tests.exporter.conftest import merge
from tests.exporter.oracles import gguf_tensors, llama_quantize, peft_merge


def test_huggingface_output_is_pefts_merge_bit_for_bit(
    tiny_base: Path, tiny_adapter: Path, exports: dict[str, Path]
) -> None:
    ours = load_file(exports["huggingface"] / "model.safetensors")
    theirs = peft_merge(tiny_base, tiny_adapter)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(
        ours["model.layers.0.mlp.up_proj.weight"],
        load_file(tiny_base / "model.safetensors")["model.layers.0.mlp.up_proj.weight"],
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_bases_are_rounded_as_peft_rounds_them(dtype: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", dtype=dtype, seed=7)
    adapter = tiny.adapter(base, tmp_path / "adapter", r=12, alpha=20, seed=8)
    ours = load_file(merge(base, tmp_path / "out", adapter, format="huggingface") / "model.safetensors")
    theirs = peft_merge(base, adapter)
    assert all(torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in theirs)


def test_rslora_scale_is_alpha_over_root_r(tiny_base: Path, tmp_path: Path) -> None:
    adapter = tiny.adapter(tiny_base, tmp_path / "adapter", r=12, alpha=32, rslora=True)
    ours = load_file(merge(tiny_base, tmp_path / "out", adapter, format="huggingface") / "model.safetensors")
    theirs = peft_merge(tiny_base, adapter)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    plain = tiny.adapter(tiny_base, tmp_path / "plain", r=12, alpha=32)
    other = peft_merge(tiny_base, plain)
    assert any(not torch.equal(ours[name], other[name]) for name in theirs)


def test_rank_and_alpha_patterns_are_those_of_peft(tiny_base: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=8, lora_alpha=12, target_modules=["q_proj", "down_proj", "up_proj"],
        rank_pattern={"q_proj": 5, r"layers\.1\.mlp\.up_proj": 3}, alpha_pattern={"model.layers.0.mlp.down_proj": 7},
        layers_to_transform=None,
    )  # fmt: skip
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(tmp_path / "adapter")
    ours = load_file(
        merge(tiny_base, tmp_path / "out", tmp_path / "adapter", format="huggingface") / "model.safetensors"
    )
    theirs = peft_merge(tiny_base, tmp_path / "adapter")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_adapters_are_summed_in_float32_and_rounded_once(
    bf16_base: Path, bf16_adapter: Path, tmp_path: Path
) -> None:
    second = tiny.adapter(bf16_base, tmp_path / "second", r=8, alpha=12, seed=9)
    ours = load_file(
        merge(bf16_base, tmp_path / "out", bf16_adapter, f"{second}=0.5", format="huggingface") / "model.safetensors"
    )
    base = load_file(bf16_base / "model.safetensors")
    name = "model.layers.1.mlp.down_proj.weight"
    sums = torch.zeros(base[name].shape)
    for folder, scale in ((bf16_adapter, 20 / 12), (second, 12 / 8 * 0.5)):
        factors = load_file(folder / "adapter_model.safetensors")
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        sums += (factors[f"{stem}.lora_B.weight"].float() @ factors[f"{stem}.lora_A.weight"].float()) * scale
    assert torch.equal(ours[name], (sums + base[name].float()).to(torch.bfloat16))


@pytest.mark.parametrize("file_type", ["q4_0", "q8_0"])
def test_quantized_file_is_llama_quantizes_whole_file(
    file_type: str, bf16_base: Path, bf16_adapter: Path, tmp_path: Path
) -> None:
    plain = merge(bf16_base, tmp_path / "f16.gguf", bf16_adapter, type="f16", name="m")
    ours = merge(bf16_base, tmp_path / "ours.gguf", bf16_adapter, type=file_type, name="m")
    llama_quantize(plain, tmp_path / "theirs.gguf", FILE_TYPES[file_type])
    if file_type == "q4_0":
        assert gguf_tensors(ours)["output.weight"][0] == "Q6_K"
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


@pytest.mark.parametrize(
    ("shape", "file_type"),
    [
        ({"tied": True, "hidden": 256}, "q4_0"),
        ({"tied": True, "hidden": 256}, "q8_0"),
        ({"hidden": 72, "heads": 4, "intermediate": 136}, "q4_0"),
        ({"hidden": 72, "heads": 4, "intermediate": 136}, "q8_0"),
        ({"hidden": 96, "layers": 1}, "q4_0"),
    ],
    ids=["tied-q4_0", "tied-q8_0", "ragged-q4_0", "ragged-q8_0", "rows of 96"],
)
def test_type_rules_are_llama_quantizes(shape: dict[str, object], file_type: str, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", **shape)  # type: ignore[arg-type]
    plain = merge(base, tmp_path / "f16.gguf", type="f16", name="m")
    ours = merge(base, tmp_path / "ours.gguf", type=file_type, name="m")
    llama_quantize(plain, tmp_path / "theirs.gguf", FILE_TYPES[file_type])
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_plain_types_hold_the_merged_values(exports: dict[str, Path]) -> None:
    merged = load_file(exports["huggingface"] / "model.safetensors")
    f32, f16, bf16 = (gguf_tensors(exports[name]) for name in ("f32", "f16", "bf16"))
    weight = merged["model.layers.0.mlp.gate_proj.weight"]
    assert f32["blk.0.ffn_gate.weight"] == ("F32", weight.numpy().tobytes())
    assert f16["blk.0.ffn_gate.weight"] == ("F16", weight.half().numpy().tobytes())
    assert bf16["blk.0.ffn_gate.weight"] == ("BF16", weight.bfloat16().view(torch.int16).numpy().tobytes())
    assert all(tensors["blk.1.attn_norm.weight"][0] == "F32" for tensors in (f32, f16, bf16))
    assert math.isclose(float(merged["model.norm.weight"][0]), 1.0)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("file_type", ["q4_k_m", pytest.param("q4_0", marks=SLOW), pytest.param("iq4_xs", marks=SLOW)])
@pytest.mark.parametrize("threads", [3, pytest.param(2, marks=SLOW), pytest.param(8, marks=SLOW)])
def test_threads_do_not_change_bytes(
    threads: int, file_type: str, bf16_base: Path, bf16_adapter: Path, tmp_path: Path
) -> None:
    one = merge(bf16_base, tmp_path / "m.gguf", bf16_adapter, type=file_type, threads=1)
    other = merge(bf16_base, tmp_path / "n" / "m.gguf", bf16_adapter, type=file_type, threads=threads)
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("file_type", ["q4_k_m", pytest.param("q4_0", marks=SLOW), pytest.param("iq4_xs", marks=SLOW)])
@pytest.mark.parametrize("chunk_bytes", [1, pytest.param(100_000, marks=SLOW), 1 << 24])
def test_chunk_size_does_not_change_bytes(
    chunk_bytes: int, file_type: str, bf16_base: Path, bf16_adapter: Path, tmp_path: Path
) -> None:
    from exporter.pipeline import run_pass
    from exporter.plan import make_plan
    from exporter.request import MergeRequest
    from exporter.sinks.gguf_file import GgufSink

    expected = merge(bf16_base, tmp_path / "m.gguf", bf16_adapter, type=file_type, threads=1)
    request = MergeRequest(
        str(bf16_base), ((str(bf16_adapter), 1.0),), "gguf", file_type, tmp_path / "other" / "m.gguf"
    )
    plan = make_plan(request)
    sink = GgufSink(tmp_path / "n.gguf", "n.gguf", plan.header, plan.jobs)
    for _ in run_pass(plan.jobs, sink, threads=1, chunk_bytes=chunk_bytes):
        pass
    sink.finish()
    assert (tmp_path / "n.gguf").read_bytes() == expected.read_bytes()
