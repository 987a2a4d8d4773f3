"""`exporter verify` of what is no merge: files of `exporter quantize`, and an adapter alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import pytest

from exporter.ggml.types import FILE_TYPES
from tests import tiny
from tests.exporter.conftest import merge
from tests.exporter.oracles import llama_quantize
from tests.exporter.test_verify import verify
from tests.tiny import run_cli

SLOW = pytest.mark.slow


def quantize(source: Path, output: Path, file_type: str, *words: object) -> Path:
    code, _, err = run_cli("exporter.cli", "quantize", source, "--type", file_type, "--output", output, *words)
    assert code == 0, err
    return output


@pytest.mark.parametrize(
    ("source_type", "words", "file_type"),
    [
        ("f32", (), "q4_0"),
        pytest.param("bf16", (), "q8_0", marks=SLOW),
        pytest.param("f16", ("--direct",), "q5_0", marks=SLOW),
        pytest.param("f32", ("--direct",), "f16", marks=SLOW),
        pytest.param("f32", ("--tensor-type", "ffn_up=f16"), "bf16", marks=SLOW),
        pytest.param("f16", (), "q5_0", marks=SLOW),
    ],
)
def test_every_way_to_a_quantized_file_is_proven(
    source_type: str,
    words: tuple[str, ...],
    file_type: str,
    bf16_base: Path,
    bf16_adapter: Path,
    tmp_path: Path,
) -> None:
    """The intermediate file's own rounding is part of the proof: f32 and direct sources do not go through f16."""
    plain = merge(bf16_base, tmp_path / "plain.gguf", bf16_adapter, *words, type=source_type)
    path = quantize(plain, tmp_path / "q.gguf", file_type)
    code, checks = verify(path, bf16_base, bf16_adapter)
    assert code == 0, checks
    assert checks["tensors"][0] == checks["metadata"][0] == checks["sources"][0] == "ok"
    other = tiny.adapter(bf16_base, tmp_path / "other", r=12, alpha=20, seed=40)
    code, checks = verify(path, bf16_base, other)
    assert code == 1
    assert checks["sources"][0] == checks["tensors"][0] == "differs"


def test_two_steps_are_proven_and_the_manifest_carries_both(
    bf16_base: Path, bf16_adapter: Path, tmp_path: Path
) -> None:
    plain = merge(bf16_base, tmp_path / "f32.gguf", bf16_adapter, "--direct", type="f32")
    half = quantize(plain, tmp_path / "bf16.gguf", "bf16")
    path = quantize(half, tmp_path / "q.gguf", "q8_0", "--tensor-type", "ffn_up=q4_0")
    code, checks = verify(path, bf16_base, bf16_adapter)
    assert code == 0, checks
    source = json.loads(Path(f"{path}.manifest.json").read_text())["source"]
    assert (source["type"], source["manifest"]["source"]["type"]) == ("bf16", "f32")
    origin = source["manifest"]["source"]["manifest"]
    assert origin["roundings"] == "direct"
    assert origin["base"]["name"] == bf16_base.name
    assert origin["adapters"][0]["name"] == bf16_adapter.name


def test_manifest_of_another_file_is_not_carried_on(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    plain = merge(bf16_base, tmp_path / "f16.gguf", bf16_adapter, type="f16")
    shutil.copyfile(f"{plain}.manifest.json", tmp_path / "longer.gguf.manifest.json")
    (tmp_path / "longer.gguf").write_bytes(plain.read_bytes() + bytes(32))
    path = quantize(tmp_path / "longer.gguf", tmp_path / "q.gguf", "q8_0")
    assert "manifest" not in json.loads(Path(f"{path}.manifest.json").read_text())["source"]
    code, checks = verify(path, bf16_base, bf16_adapter)
    assert code == 0, checks
    assert checks["sources"] == (
        "not checked", "the manifest names longer.gguf, which this was made from, and no base"
    )  # fmt: skip


def test_llama_quantizes_own_file_is_proven(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    """A file of the classic chain, without any manifest of ours."""
    plain = merge(bf16_base, tmp_path / "f16.gguf", bf16_adapter, type="f16", name="m")
    llama_quantize(plain, tmp_path / "q.gguf", FILE_TYPES["q4_k_m"])
    code, checks = verify(tmp_path / "q.gguf", bf16_base, bf16_adapter)
    assert code == 0, checks
    assert checks["tensors"][0] == checks["metadata"][0] == "ok"


@pytest.fixture(params=[False, True], ids=["plain", "rslora"])
def lora(request: pytest.FixtureRequest, tiny_base: Path, tmp_path: Path) -> tuple[Path, Path]:
    """An adapter and its llama.cpp LoRA file."""
    adapter = tiny.adapter(tiny_base, tmp_path / "adapter", r=12, alpha=20, rslora=request.param, seed=5)
    words = ["--adapter", adapter, "--base", tiny_base, "--output", tmp_path / "lora.gguf"]
    code, _, err = run_cli("exporter.cli", "adapter", *words)
    assert code == 0, err
    return adapter, tmp_path / "lora.gguf"


def test_adapter_alone_is_proven(lora: tuple[Path, Path], tiny_base: Path) -> None:
    adapter, path = lora
    code, checks = verify(path, tiny_base, adapter)
    assert code == 0, checks
    assert {name: status for name, (status, _) in checks.items()} == {
        "manifest": "ok", "sources": "ok", "metadata": "ok", "tensor table": "ok", "tensors": "ok",
        "tokenizer": "not checked", "logits": "not checked",
    }  # fmt: skip
    assert "28 tensors" in checks["tensors"][1]
    Path(f"{path}.manifest.json").unlink()
    assert verify(path, tiny_base, adapter)[0] == 0


def test_what_is_wrong_with_an_adapter_alone_is_named(lora: tuple[Path, Path], tiny_base: Path, tmp_path: Path) -> None:
    adapter, path = lora
    other = tiny.adapter(tiny_base, tmp_path / "other", r=12, alpha=20, seed=9)
    code, checks = verify(path, tiny_base, other)
    assert code == 1
    assert checks["sources"][0] == checks["tensors"][0] == "differs"
    scaled = tmp_path / "scaled"
    shutil.copytree(adapter, scaled)
    config = json.loads((scaled / "adapter_config.json").read_text())
    (scaled / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 21}))
    assert "adapter.lora.alpha" in verify(path, tiny_base, scaled)[1]["metadata"][1]
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path, "r+").tensors}
    tensors["blk.1.ffn_down.weight.lora_b"][3, 2] += 1
    del tensors
    code, checks = verify(path, tiny_base, adapter)
    assert code == 1
    assert checks["manifest"][0] == "differs"
    assert "blk.1.ffn_down.weight.lora_b, from row 3" in checks["tensors"][1]


def test_adapter_alone_needs_its_one_adapter(lora: tuple[Path, Path], tiny_base: Path) -> None:
    adapter, path = lora
    words = ["verify", path, "--base", tiny_base]
    for given in ([], ["--adapter", f"{adapter}=0.5"], ["--adapter", adapter, "--adapter", adapter]):
        code, _, err = run_cli("exporter.cli", *words, *given)
        assert code == 2
        assert "is an adapter alone" in err
    code, checks = verify(path)
    assert code == 0
    assert checks["manifest"][0] == "ok"
