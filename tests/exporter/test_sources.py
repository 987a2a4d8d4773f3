"""Every way a base can lie on the disk gives the same export."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.tensor import TensorSpec, row_chunks
from tests.exporter.conftest import merge
from tests.tiny import run_cli


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the base to store in another way."""
    return Path(shutil.copytree(tiny_base, tmp_path / "the-base"))


def store(base: Path, how: str) -> None:
    weights = base / "model.safetensors"
    tensors = load_file(weights)
    weights.unlink()
    if how == "bin":
        torch.save(tensors, base / "pytorch_model.bin")
        return
    stem, suffix = ("model", "safetensors") if how == "safetensors shards" else ("pytorch_model", "bin")
    home = {}
    for number in (1, 2):
        part = {name: tensors[name] for name in sorted(tensors)[number - 1 :: 2]}
        file = f"{stem}-{number:05d}-of-00002.{suffix}"
        save_file(part, base / file) if suffix == "safetensors" else torch.save(part, base / file)
        home |= dict.fromkeys(part, file)
    (base / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": home}))


@pytest.mark.parametrize("how", ["bin", "bin shards", "safetensors shards"])
def test_storage_does_not_change_the_export(
    how: str, base: Path, tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    store(base, how)
    expected = merge(tiny_base, tmp_path / "a" / "m.gguf", tiny_adapter)
    assert merge(base, tmp_path / "b" / "m.gguf", tiny_adapter).read_bytes() == expected.read_bytes()


def test_bin_adapter_is_the_same_as_safetensors(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    expected = merge(tiny_base, tmp_path / "a" / "m.gguf", tiny_adapter)
    assert merge(tiny_base, tmp_path / "b" / "m.gguf", adapter).read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("damage", ["missing shard", "unlisted tensor", "phantom tensor", "outside", "no index"])
def test_shards_must_be_what_the_index_says(damage: str, base: Path, tmp_path: Path) -> None:
    store(base, "safetensors shards")
    index = base / "model.safetensors.index.json"
    table = json.loads(index.read_text())
    if damage == "missing shard":
        (base / "model-00002-of-00002.safetensors").unlink()
    elif damage == "unlisted tensor":
        del table["weight_map"]["lm_head.weight"]
    elif damage == "phantom tensor":
        table["weight_map"]["model.extra"] = "model-00001-of-00002.safetensors"
    elif damage == "outside":
        table["weight_map"]["lm_head.weight"] = "../secret.safetensors"
    else:
        table = {}
    index.write_text(json.dumps(table))
    code, _, err = run_cli("exporter.cli", "merge", "--base", base, "--format", "gguf", "--output", tmp_path / "m.gguf")
    assert code == 1
    assert "unexpected" not in err
    assert not (tmp_path / "m.gguf").exists()


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/should-never-exist-lora2edge"),))  # type: ignore[return-value]


def test_pickle_that_runs_code_is_refused(base: Path, tmp_path: Path) -> None:
    (base / "model.safetensors").unlink()
    torch.save({"model.embed_tokens.weight": Bomb()}, base / "pytorch_model.bin")
    code, _, err = run_cli("exporter.cli", "merge", "--base", base, "--format", "gguf", "--output", tmp_path / "m.gguf")
    assert code == 1
    assert "damaged or holds more than tensors" in err
    (base / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    code, _, err = run_cli("exporter.cli", "merge", "--base", base, "--format", "gguf", "--output", tmp_path / "m.gguf")
    assert code == 1
    assert "damaged or holds more than tensors" in err
    assert not Path("/tmp/should-never-exist-lora2edge").exists()


def test_old_buffers_and_a_second_tied_matrix_are_passed_over(tmp_path: Path) -> None:
    from tests import tiny

    base = tiny.base(tmp_path / "base", tied=True)
    expected = merge(base, tmp_path / "a" / "m.gguf")
    tensors = load_file(base / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, base / "model.safetensors")
    assert merge(base, tmp_path / "b" / "m.gguf").read_bytes() == expected.read_bytes()


def test_large_outputs_are_cut_into_shards_that_transformers_opens(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("exporter.sinks.huggingface.HuggingfaceSink.__init__.__kwdefaults__", {"shard_bytes": 200_000})
    folder = merge(tiny_base, tmp_path / "out", format="huggingface")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert shards[0].name.endswith(f"-of-{len(shards):05d}.safetensors")
    ours = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    theirs = load_file(tiny_base / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert merge(folder, tmp_path / "m.gguf").read_bytes() == merge(tiny_base, tmp_path / "n" / "m.gguf").read_bytes()


def test_huggingface_output_in_another_type(tiny_base: Path, tmp_path: Path) -> None:
    folder = merge(tiny_base, tmp_path / "out", format="huggingface", type="bf16")
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 127, 128, 200, 1000])
@pytest.mark.parametrize("unit", [1, 16, 48, 128])
@pytest.mark.parametrize("chunk_bytes", [1, 4 * 64 * 100])
def test_chunks_cover_all_rows_in_whole_heads_with_no_short_tail(rows: int, unit: int, chunk_bytes: int) -> None:
    rows = -(-rows // unit) * unit
    chunks = list(row_chunks(TensorSpec("t", (rows, 64), "f32"), unit=unit, chunk_bytes=chunk_bytes))
    assert [start for start, _ in chunks] == [0, *(stop for _, stop in chunks[:-1])]
    assert chunks[-1][1] == rows
    assert all(start % unit == 0 for start, _ in chunks)
    assert len(chunks) == 1 or all(stop - start >= 64 for start, stop in chunks)
