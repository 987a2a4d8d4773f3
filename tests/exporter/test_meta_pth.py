"""Meta's layout: read from any number of shards, written so that torch, zip tools and Meta's formula agree."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from configs.atomic import sha256_file
from exporter.meta_layout import feed_forward_params, feed_forward_size
from exporter.sinks.torch_zip import _Entry
from tests import tiny
from tests.exporter import byte_level
from tests.exporter.adapters import make_adapter
from tests.exporter.conftest import merge
from tests.exporter.oracles import peft_merge
from tests.tiny import run_cli

SLOW = pytest.mark.slow


def refusal(*words: object) -> tuple[int, str]:
    code, out, err = run_cli("exporter.cli", "merge", *words)
    assert code != 0
    assert out == ""
    assert "unexpected" not in err
    return code, err


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.glob("consolidated.*.pth")}


def meta_state(base: Path) -> dict[str, torch.Tensor]:
    """Meta's names and rows for a model in Hugging Face layout, written out by hand: the oracle."""
    config = json.loads((base / "config.json").read_text())
    tensors = load_file(base / "model.safetensors")
    names = {"q_proj": "attention.wq", "k_proj": "attention.wk", "v_proj": "attention.wv", "o_proj": "attention.wo",
             "gate_proj": "feed_forward.w1", "down_proj": "feed_forward.w2", "up_proj": "feed_forward.w3",
             "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"}  # fmt: skip
    found = {}
    for name, value in tensors.items():
        part = name.split(".")
        if part[1] == "layers":
            kind = part[-2]
            if kind in ("q_proj", "k_proj"):
                heads = config["num_attention_heads" if kind == "q_proj" else "num_key_value_heads"]
                rows = value.shape[0] // heads
                value = value.view(heads, 2, rows // 2, -1).transpose(1, 2).reshape(value.shape)
            found[f"layers.{part[2]}.{names[kind]}.weight"] = value
        else:
            outside = {"model.embed_tokens": "tok_embeddings", "model.norm": "norm", "lm_head": "output"}
            found[outside[name.removesuffix(".weight")] + ".weight"] = value
    return found


def write_meta(base: Path, folder: Path, shards: int, *, by_rows: bool = False, **params: object) -> Path:
    """The model as Meta would distribute it, by torch.save."""
    folder.mkdir()
    config = json.loads((base / "config.json").read_text())
    table = {
        "dim": config["hidden_size"], "multiple_of": 32, "n_heads": config["num_attention_heads"],
        "n_kv_heads": config["num_key_value_heads"], "n_layers": config["num_hidden_layers"], "norm_eps": 1e-6,
        "vocab_size": -1,
    }  # fmt: skip
    (folder / "params.json").write_text(json.dumps(table | params))
    state = meta_state(base)
    for number in range(shards):
        part = {}
        for name, value in state.items():
            axis = 1 if name.split(".")[-2] in ("wo", "w2") or (name == "tok_embeddings.weight" and not by_rows) else 0
            if "norm" in name:
                part[name] = value.clone()
                continue
            step = value.shape[axis] // shards
            stop = value.shape[axis] if number == shards - 1 else step * (number + 1)
            part[name] = value.narrow(axis, step * number, stop - step * number).contiguous().clone()
        part["rope.freqs"] = torch.ones(8)
        torch.save(part, folder / f"consolidated.{number:02d}.pth")
    for name in ("tokenizer.model", "tokenizer_config.json", "prompt_format.toml"):
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def bf16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with grouped heads and an odd vocabulary."""
    from safetensors.torch import save_file

    base = tiny.base(tmp_path_factory.mktemp("meta") / "base", dtype="bfloat16", hidden=64, heads=4, kv_heads=2)
    tensors = load_file(base / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        tensors[name] = torch.cat([tensors[name], tensors[name][:1] * 2])
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"vocab_size": 641}))
    return base


@pytest.mark.parametrize("shards", [2, pytest.param(1, marks=SLOW)])
@pytest.mark.parametrize("by_rows", [False, True])
def test_metas_shards_are_read_as_the_same_model(shards: int, by_rows: bool, bf16: Path, tmp_path: Path) -> None:
    meta = write_meta(bf16, tmp_path / "meta", shards, by_rows=by_rows)
    expected = load_file(bf16 / "model.safetensors")
    found = load_file(merge(meta, tmp_path / "hf", format="huggingface") / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    for kind in ("f16", "q4_0"):
        ours = merge(meta, tmp_path / "a" / f"{kind}.gguf", type=kind)
        theirs = merge(bf16, tmp_path / "b" / f"{kind}.gguf", type=kind)
        ours_tensors, theirs_tensors = gguf_part(ours), gguf_part(theirs)
        assert ours_tensors == theirs_tensors


def gguf_part(path: Path) -> dict[str, tuple[str, bytes]]:
    from tests.exporter.oracles import gguf_tensors

    return gguf_tensors(path)


@pytest.mark.parametrize("shards", [1, 2])
def test_written_shards_are_what_torch_and_zip_tools_expect(shards: int, bf16: Path, tmp_path: Path) -> None:
    out = merge(bf16, tmp_path / "out", format="pth", shards=shards)
    theirs = write_meta(bf16, tmp_path / "theirs", shards)
    names = sorted(path.name for path in out.glob("*.pth"))
    assert names == [f"consolidated.{number:02d}.pth" for number in range(shards)]
    for name in names:
        with zipfile.ZipFile(out / name) as archive:
            assert archive.testzip() is None
        expected = torch.load(theirs / name, weights_only=True)
        del expected["rope.freqs"]
        for mapped in (False, True):
            found = torch.load(out / name, weights_only=True, mmap=mapped)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[key], expected[key]) for key in expected)
            assert all(value.is_contiguous() for value in found.values())
    assert (out / "tokenizer.model").read_bytes() == (bf16 / "tokenizer.model").read_bytes()
    assert (out / "prompt_format.toml").is_file()
    code, printed, err = run_cli("exporter.cli", "inspect", out, "--json")
    assert code == 0, err
    assert json.loads(printed)["kind"] == "pth folder"
    assert json.loads(printed)["manifest"] == "matches"


def test_round_trips(bf16: Path, tmp_path: Path) -> None:
    two = merge(bf16, tmp_path / "two" / "m", format="pth", shards=2)
    one = merge(two, tmp_path / "one" / "m", format="pth", shards=1)
    assert hashes(merge(one, tmp_path / "again" / "m", format="pth", shards=2)) == hashes(two)
    folder = merge(two, tmp_path / "hf" / "m", format="huggingface")
    again = merge(folder, tmp_path / "back" / "m", format="pth", shards=2)
    assert hashes(again) == hashes(two)
    assert (again / "params.json").read_bytes() == (two / "params.json").read_bytes()


def test_adapter_into_pth_and_onto_a_pth_base(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    out = merge(tiny_base, tmp_path / "out", tiny_adapter, format="pth", shards=2)
    found = load_file(merge(out, tmp_path / "hf", format="huggingface") / "model.safetensors")
    expected = peft_merge(tiny_base, tiny_adapter)
    assert all(torch.equal(found[name], expected[name]) for name in found)
    base = write_meta(tiny_base, tmp_path / "meta", 2)
    merged = merge(base, tmp_path / "merged", tiny_adapter, format="pth", shards=2)
    assert hashes(merged) == hashes(out)


@pytest.mark.parametrize(
    "fields",
    [
        {"use_dora": True, "target_modules": ["q_proj", "k_proj", "down_proj", "lm_head"]},
        pytest.param({"modules_to_save": ["embed_tokens", "lm_head", "norm"]}, marks=SLOW),
        pytest.param({"trainable_token_indices": {"embed_tokens": [5, 3], "lm_head": [2]}}, marks=SLOW),
        pytest.param({"target_modules": ["k_proj", "embed_tokens", "lm_head"], "use_rslora": True}, marks=SLOW),
        pytest.param({"rows": 700}, marks=SLOW),
    ],
    ids=["dora", "whole modules", "rows", "embedding", "grown"],
)
def test_every_kind_of_adapter_on_a_pth_base(fields: dict[str, Any], tiny_base: Path, tmp_path: Path) -> None:
    """Two shards, embeddings cut by features: the same tensors as on the base in Hugging Face's layout."""
    adapter = make_adapter(tiny_base, tmp_path / "adapter", **fields)
    meta = write_meta(tiny_base, tmp_path / "meta", 2)
    for kind in ("f32", "q4_0"):
        ours, theirs = (gguf_part(merge(base, tmp_path / base.name / f"{kind}.gguf", adapter, type=kind))
                        for base in (Path(shutil.copytree(meta, tmp_path / kind / "a")), tiny_base))  # fmt: skip
        assert ours == theirs
    folder = merge(meta, tmp_path / "pth", adapter, format="pth", shards=2)
    assert hashes(folder) == hashes(merge(tiny_base, tmp_path / "pth2", adapter, format="pth", shards=2))
    code, out, err = run_cli("exporter.cli", "verify", folder, "--base", meta, "--adapter", adapter)
    assert code == 0, out + err


def test_tied_matrix_is_written_out(tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", tied=True)
    out = merge(base, tmp_path / "out", format="pth", type="f16")
    state = torch.load(out / "consolidated.00.pth", weights_only=True)
    assert torch.equal(state["output.weight"], state["tok_embeddings.weight"])
    assert {value.dtype for value in state.values()} == {torch.float16}


def test_params_of_llama_31_and_back(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }  # fmt: skip
    base = byte_level.model(tmp_path / "base", "llama", rope_parameters=rope)
    out = merge(base, tmp_path / "out", format="pth", shards=2)
    params = json.loads((out / "params.json").read_text())
    assert params["rope_theta"] == 500000.0
    assert params["use_scaled_rope"] is True
    assert params["rope_scaling_factor"] == 32.0
    assert params["n_kv_heads"] == 2
    assert feed_forward_size(params) == 160
    rows = torch.load(out / "consolidated.00.pth", weights_only=True)["tok_embeddings.weight"].shape
    assert rows == (params["vocab_size"] // 2, 64)
    again = json.loads((merge(out, tmp_path / "hf", format="huggingface") / "config.json").read_text())
    assert again["rope_scaling"]["factor"] == 32.0
    assert again["num_key_value_heads"] == 2


@pytest.mark.parametrize(
    ("dim", "intermediate", "params"),
    [
        (4096, 11008, {"multiple_of": 256}), (5120, 13824, {"multiple_of": 256}), (6656, 17920, {"multiple_of": 256}),
        (8192, 22016, {"multiple_of": 256}), (8192, 28672, {"multiple_of": 4096, "ffn_dim_multiplier": 1.3}),
        (4096, 14336, None), (2048, 8192, None), (3072, 8192, None), (64, 160, None), (64, 161, None), (1000, 2731, None),
    ],
)  # fmt: skip
def test_metas_formula_gives_the_size(dim: int, intermediate: int, params: dict[str, float] | None) -> None:
    found = feed_forward_params(dim, intermediate)
    assert feed_forward_size({"dim": dim, **found}) == intermediate
    if params:
        assert found == params


def test_large_entries_get_large_headers() -> None:
    entry = _Entry(b"x/data/0", 5 << 30)
    assert len(entry.local_header(17)) % 64 == (64 - 17) % 64
    assert len(entry.descriptor()) == 24
    entry.offset = 6 << 30
    assert entry.directory_record().endswith((5 << 30).to_bytes(8, "little") * 2 + (6 << 30).to_bytes(8, "little"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "no linear rope scaling"),
        ({"attention_bias": True}, "it has biases"),
        ({"head_dim": 32}, "do not add up"),
    ],
)
def test_what_metas_code_could_not_run_is_refused(values: dict[str, object], words: str, tmp_path: Path) -> None:
    base = byte_level.model(tmp_path / "base", "llama", **values)
    code, err = refusal("--base", base, "--format", "pth", "--output", tmp_path / "out")
    assert code == 1
    assert words in err
    assert not (tmp_path / "out").exists()


def test_qwen_and_odd_shards_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    base = byte_level.model(tmp_path / "base", "qwen2")
    assert "has no Qwen2ForCausalLM" in refusal("--base", base, "--format", "pth", "--output", tmp_path / "out")[1]
    words = ["--base", tiny_base, "--output", tmp_path / "out"]
    assert refusal(*words, "--format", "pth", "--shards", 4)[0] == 2
    assert "--shards is for" in refusal(*words, "--format", "huggingface", "--shards", 2)[1]


@pytest.mark.parametrize(
    "damage", ["missing shard", "no shard", "lost tensor", "stranger", "other width", "params", "truncated"]
)
def test_damaged_pth_folders_are_one_sentence(damage: str, bf16: Path, tmp_path: Path) -> None:
    meta = write_meta(bf16, tmp_path / "meta", 3 if damage == "missing shard" else 2)
    first, second = meta / "consolidated.00.pth", meta / "consolidated.01.pth"
    state = torch.load(second, weights_only=True)
    if damage == "missing shard":
        second.unlink()
    elif damage == "no shard":
        first.unlink()
        second.unlink()
    elif damage == "lost tensor":
        del state["layers.1.attention.wv.weight"]
    elif damage == "stranger":
        state["layers.1.attention.wx.weight"] = torch.ones(2, 2)
    elif damage == "other width":
        state["layers.1.attention.wv.weight"] = torch.ones(16, 32, dtype=torch.bfloat16)
    elif damage == "params":
        (meta / "params.json").write_text("{}")
    if damage in ("lost tensor", "stranger", "other width"):
        torch.save(state, second)
    if damage == "truncated":
        second.write_bytes(second.read_bytes()[:-500])
    code, err = refusal("--base", meta, "--format", "gguf", "--output", tmp_path / "out" / "m.gguf")
    assert code == (2 if damage == "no shard" else 1)
    assert len([line for line in err.splitlines() if "error" in line]) == 1
    assert not (tmp_path / "out").exists()


def test_rope_factor_that_params_does_not_state_is_asked_for(bf16: Path, tmp_path: Path) -> None:
    meta = write_meta(bf16, tmp_path / "meta", 1, use_scaled_rope=True)
    assert "rope_scaling_factor" in refusal("--base", meta, "--format", "gguf", "--output", tmp_path / "m.gguf")[1]
