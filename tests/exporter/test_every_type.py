"""Every type against llama-quantize on the f16 file: whole files, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.ggml.types import FILE_TYPES, QUANTIZED
from exporter.transforms.merge_lora import LoraFactors
from tests import tiny
from tests.exporter.adapters import make_adapter
from tests.exporter.conftest import merge
from tests.exporter.oracles import gguf_keys, gguf_tensors, llama_quantize
from tests.tiny import run_cli

TYPES = sorted(QUANTIZED)
SHAPES: dict[str, dict[str, Any]] = {
    "GQA, untied, bf16": {"hidden": 256, "intermediate": 512, "layers": 3, "heads": 8, "kv_heads": 4, "dtype": "bfloat16"},
    "tied, f32": {"hidden": 256, "intermediate": 256, "tied": True},
    "ragged rows, f16": {"hidden": 288, "intermediate": 800, "heads": 4, "kv_heads": 4, "dtype": "float16"},
    "rows of no block": {"hidden": 72, "intermediate": 136},
    "four query heads to one, 9 layers": {"hidden": 256, "intermediate": 256, "layers": 9, "heads": 8, "kv_heads": 2},
    "32 layers": {"hidden": 256, "intermediate": 256, "layers": 32, "heads": 4, "kv_heads": 4, "dtype": "bfloat16"},
    "80 layers, GQA (the rule of 70B)": {
        "hidden": 256, "intermediate": 256, "layers": 80, "heads": 4, "kv_heads": 2, "dtype": "bfloat16"
    },
}  # fmt: skip


def differing_types(base: Path, folder: Path, *adapters: Path) -> list[str]:
    """The types whose file is not what llama-quantize makes of the f16 file."""
    plain = merge(base, folder / "f16.gguf", *adapters, type="f16", name="m")
    found = []
    for file_type in TYPES:
        ours, theirs = folder / "ours.gguf", folder / "theirs.gguf"
        merge(base, ours, *adapters, type=file_type, name="m")
        llama_quantize(plain, theirs, FILE_TYPES[file_type])
        if ours.read_bytes() != theirs.read_bytes():
            found.append(file_type)
        for path in (ours, theirs, ours.with_name("ours.gguf.manifest.json")):
            path.unlink()
    return found


@pytest.mark.parametrize("rank_alpha", [None, (12, 16), (12, 20)], ids=["no adapter", "scale 4/3", "scale 5/3"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.slow
def test_every_type_of_every_shape(shape: str, rank_alpha: tuple[int, int] | None, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", **SHAPES[shape])
    adapters = []
    if rank_alpha:
        adapters = [tiny.adapter(base, tmp_path / "adapter", r=rank_alpha[0], alpha=rank_alpha[1])]
    assert not differing_types(base, tmp_path, *adapters)


def test_every_type(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    assert not differing_types(bf16_base, tmp_path, bf16_adapter)


def _unchanged(rows: Any, _head_rows: int) -> Any:
    return rows


def _slightly_more(build: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, read_b, scale: build(a, read_b, scale * (1 + 2**-9))


FAULTS = {
    "no rotary permutation": ("exporter.jobs.interleave_rotary_rows", _unchanged),
    "wrong scale": ("exporter.merge_steps.LoraFactors", _slightly_more(LoraFactors)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_show_in_the_bytes(
    fault: str, bf16_base: Path, bf16_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative controls of the tests above."""
    plain = merge(bf16_base, tmp_path / "f16.gguf", bf16_adapter, type="f16", name="m")
    llama_quantize(plain, tmp_path / "theirs.gguf", FILE_TYPES["q4_0"])
    monkeypatch.setattr(*FAULTS[fault])
    ours = merge(bf16_base, tmp_path / "ours.gguf", bf16_adapter, type="q4_0", name="m")
    assert ours.read_bytes() != (tmp_path / "theirs.gguf").read_bytes()


def test_direct_rounds_once(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    """f32 --direct is the exact sum; f16 --direct is that sum rounded once, and nearer to it than --compat's."""
    import numpy as np

    sums, direct, compat = (
        gguf_tensors(merge(bf16_base, tmp_path / name, bf16_adapter, *flags, type=kind))
        for name, kind, flags in (
            ("f32.gguf", "f32", ("--direct",)), ("direct.gguf", "f16", ("--direct",)), ("compat.gguf", "f16", ())
        )
    )  # fmt: skip
    name = "blk.1.ffn_down.weight"
    exact, once, twice = (
        np.frombuffer(table[name][1], dtype).astype(np.float64)
        for table, dtype in ((sums, np.float32), (direct, np.float16), (compat, np.float16))
    )
    assert np.array_equal(once, exact.astype(np.float16))
    assert np.abs(twice - exact).mean() > 4 * np.abs(once - exact).mean()


def test_direct_and_quantized_is_the_f32_files_quantization(
    bf16_base: Path, bf16_adapter: Path, tmp_path: Path
) -> None:
    plain = merge(bf16_base, tmp_path / "f32.gguf", bf16_adapter, "--direct", type="f32", name="m")
    ours = merge(bf16_base, tmp_path / "ours.gguf", bf16_adapter, "--direct", type="q4_k_m", name="m")
    llama_quantize(plain, tmp_path / "theirs.gguf", FILE_TYPES["q4_k_m"])
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_direct_huggingface_skips_the_bases_rounding(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    wide, exact = (
        load_file(merge(bf16_base, tmp_path / name, bf16_adapter, *flags, format="huggingface", type="f32")
                  / "model.safetensors")
        for name, flags in (("compat", ()), ("direct", ("--direct",)))
    )  # fmt: skip
    name = "model.layers.0.mlp.up_proj.weight"
    assert wide[name].bfloat16().float().equal(wide[name])
    assert not exact[name].equal(wide[name])
    assert exact[name].bfloat16().float().equal(wide[name])


@pytest.mark.parametrize("kind", ["gguf", pytest.param("huggingface", marks=pytest.mark.slow)])
def test_direct_keeps_the_whole_tensors_of_an_adapter_as_they_were_trained(
    kind: str, bf16_base: Path, tmp_path: Path
) -> None:
    """PEFT saves whole modules and rows in float32; only --compat rounds them to the base's bf16."""
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file

    fields: dict[str, Any] = {"modules_to_save": ["norm"], "trainable_token_indices": {"embed_tokens": [7, 300]}}
    adapter = make_adapter(bf16_base, tmp_path / "adapter", **fields)
    file = adapter / "adapter_model.safetensors"
    draw = torch.Generator().manual_seed(3)
    trained = {
        name: tensor if "lora_" in name else tensor.float() * (1 + 1e-3 * torch.randn(tensor.shape, generator=draw))
        for name, tensor in load_file(file).items()
    }
    save_file(trained, file, {"format": "pt"})
    norm = next(tensor for name, tensor in trained.items() if name.endswith("model.norm.weight"))
    rows = next(tensor for name, tensor in trained.items() if name.endswith("trainable_tokens_delta"))
    found = {}
    for way in ("direct", "compat"):
        output = merge(bf16_base, tmp_path / way, adapter, f"--{way}", format=kind, type="f32")
        if kind == "gguf":
            raw = {
                name: torch.frombuffer(bytearray(data), dtype=torch.float32)
                for name, (_, data) in gguf_tensors(output).items()
            }
            found[way] = raw["output_norm.weight"], raw["token_embd.weight"].view(-1, norm.numel())
        else:
            table = load_file(output / "model.safetensors")
            found[way] = table["model.norm.weight"], table["model.embed_tokens.weight"]
    assert torch.equal(found["direct"][0], norm)
    assert torch.equal(found["direct"][1][[7, 300]], rows)
    assert torch.equal(found["compat"][0], norm.bfloat16().float())
    assert torch.equal(found["compat"][1][[7, 300]], rows.bfloat16().float())
    assert not np.array_equal(found["compat"][0], found["direct"][0])
    words = ["verify", tmp_path / "direct", "--base", bf16_base, "--adapter", adapter]
    code, out, err = run_cli("exporter.cli", *words)
    assert code == 0, out + err


def test_own_types_for_tensors(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    rules = ("--tensor-type", r"attn_[qk]\.=f16", "--tensor-type", "attn_|ffn_down=q6_K", "--tensor-type", "^out=q8_0")
    path = merge(bf16_base, tmp_path / "m.gguf", bf16_adapter, *rules, type="q4_k_m")
    types = {name: kind for name, (kind, _) in gguf_tensors(path).items()}
    assert types["blk.0.attn_q.weight"] == types["blk.2.attn_k.weight"] == "F16"
    assert types["blk.1.attn_v.weight"] == types["blk.1.attn_output.weight"] == "Q6_K"
    assert types["blk.0.ffn_down.weight"] == "Q8_0"  # rows of 320: no whole number of q6_K's blocks
    assert types["blk.0.ffn_up.weight"] == "Q4_K"
    assert types["output.weight"] == "Q8_0"
    assert types["blk.0.attn_norm.weight"] == "F32"
    assert gguf_keys(path)["general.file_type"] == FILE_TYPES["q4_k_m"]
    mixed = gguf_tensors(merge(bf16_base, tmp_path / "f16.gguf", "--tensor-type", "token_embd=q8_0", type="f16"))
    assert {kind for kind, _ in mixed.values()} == {"F32", "F16", "Q8_0"}


def test_own_types_are_refused_where_they_mean_nothing(bf16_base: Path, tmp_path: Path) -> None:
    words = ["merge", "--base", bf16_base, "--output", tmp_path / "m"]
    for kind, rule, reason in (
        ("gguf", "no_such=q8_0", "matches no weight"),
        ("gguf", "attn_v=q9", "not REGEX=TYPE"),
        ("huggingface", "attn_v=q8_0", "is for --format gguf"),
    ):
        code, _, err = run_cli("exporter.cli", *words, "--format", kind, "--tensor-type", rule)
        assert (code, reason in err) == (2, True), err
    assert not list(tmp_path.iterdir())


def test_other_rules_make_another_export(bf16_base: Path, tmp_path: Path) -> None:
    words = ["merge", "--base", bf16_base, "--format", "gguf", "--output", tmp_path / "m.gguf"]
    assert run_cli("exporter.cli", *words)[0] == 0
    assert run_cli("exporter.cli", *words)[0] == 0
    assert run_cli("exporter.cli", *words, "--direct")[0] == 2
    assert run_cli("exporter.cli", *words, "--tensor-type", "ffn_up=q8_0")[0] == 2
