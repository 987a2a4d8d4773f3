"""Inputs as strangers have them, odd in ways that no program makes: one sentence, the right exit code, nothing left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.exporter.conftest import merge
from tests.exporter.test_refusals import adapter, base, configure, refusal
from tests.tiny import run_cli

__all__ = ["adapter", "base"]  # fixtures


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("architectures", {"a": 1}, "none named"),
        ("architectures", [None], "none named"),
        ("hidden_size", -1, "hidden_size"),
        ("num_hidden_layers", 10**9, "num_hidden_layers"),
        ("max_position_embeddings", -5, "max_position_embeddings"),
        ("rms_norm_eps", 0, "rms_norm_eps"),
        ("rope_parameters", {"rope_type": "linear", "factor": 0}, "rope.factor"),
        ("rope_parameters", {"rope_type": "dynamic", "factor": 2}, "rope scaling 'dynamic'"),
        ("quantization_config", {"quant_method": "awq"}, "already quantized"),
    ],
)
def test_numbers_that_no_model_has(field: str, value: object, words: str, base: Path, tmp_path: Path) -> None:
    configure(base, "config.json", **{field: value})
    assert words in refusal(base, None, tmp_path / "out" / "m.gguf")[1]


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_json_of_endless_depth(name: str, base: Path, tmp_path: Path) -> None:
    (base / name).write_text("[" * 100_000)
    assert f"{name} is not valid JSON" in refusal(base, None, tmp_path / "out" / "m.gguf")[1]


@pytest.mark.parametrize("table", [{"x": {"content": "a"}}, {"5": {}}, [1], "x"], ids=str)
def test_damaged_added_tokens(table: object, base: Path, tmp_path: Path) -> None:
    configure(base, "tokenizer_config.json", added_tokens_decoder=table)
    assert "the added tokens of" in refusal(base, None, tmp_path / "out" / "m.gguf")[1]


@pytest.mark.parametrize(("key", "value"), [("top_k", 1e400), ("top_k", 1 << 40), ("temperature", float("nan"))])
def test_sampling_settings_beyond_all_numbers(key: str, value: float, base: Path, tmp_path: Path) -> None:
    configure(base, "generation_config.json", **{key: value})
    assert f"{key} is " in refusal(base, None, tmp_path / "out" / "m.gguf")[1]


def test_sentencepiece_model_with_a_damaged_piece(base: Path, tmp_path: Path) -> None:
    path = base / "tokenizer.model"
    path.write_bytes(path.read_bytes().replace("▁".encode(), b"\xe2\x96\xff", 1))
    assert "is not a SentencePiece model" in refusal(base, None, tmp_path / "out" / "m.gguf")[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: list(t.values()), "holds a list"),
        (lambda t: next(iter(t.values())), "holds a Tensor"),
        (lambda t: {"state_dict": t}, "state_dict is no tensor"),
        (lambda t: dict(enumerate(t.values())), "0 is no tensor"),
        (lambda t: t | {"lm_head.weight": t["lm_head.weight"].to_sparse()}, "lm_head.weight is no tensor"),
        (lambda t: t | {"lm_head.weight": t["lm_head.weight"].to("meta")}, "lm_head.weight is no tensor"),
    ],
    ids=["list", "tensor", "wrapped", "numbered", "sparse", "meta"],
)
def test_pickles_that_are_no_table_of_tensors(
    change: Callable[[dict[str, torch.Tensor]], Any], words: str, base: Path, tmp_path: Path
) -> None:
    torch.save(change(load_file(base / "model.safetensors")), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    assert words in refusal(base, None, tmp_path / "out" / "m.gguf")[1]


def test_names_that_are_no_text(base: Path, tmp_path: Path) -> None:
    words = ["merge", "--base", base, "--format", "gguf"]
    for more in (["--output", tmp_path / "a\udc80.gguf"], ["--output", tmp_path / "m.gguf", "--name", "a\udc80"]):
        code, _, err = run_cli("exporter.cli", *words, *more)
        assert code == 2
        assert "is no UTF-8 text" in err
    for place in ("", ".", "/"):
        code, _, err = run_cli("exporter.cli", *words, "--output", place)
        assert code == 2
        assert "is a folder" in err or "would write into the input folder" in err


def test_devices_are_not_replaced(base: Path) -> None:
    words = ["merge", "--base", base, "--output", "/dev/null", "--overwrite", "--format"]
    for kind in ("gguf", "huggingface"):
        code, _, err = run_cli("exporter.cli", *words, kind)
        assert (code, "neither file nor folder" in err) == (2, True), err
    assert Path("/dev/null").is_char_device()


def test_names_in_chinese_with_spaces_and_equals_signs(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    expected = merge(tiny_base, tmp_path / "m.gguf", tiny_adapter, name="模型")
    folder = Path(shutil.copytree(tiny_base, tmp_path / "基 礎=1"))
    other = Path(shutil.copytree(tiny_adapter, tmp_path / "適配 器=0.5"))
    output = merge(folder, tmp_path / "輸 出" / "模 型.gguf", other, name="模型")
    assert output.read_bytes() == expected.read_bytes()
    assert run_cli("exporter.cli", "inspect", output)[0] == 0


def test_gguf_with_a_damaged_text(exports: dict[str, Path], tiny_base: Path, tmp_path: Path) -> None:
    data = exports["f16"].read_bytes()
    place = data.index(b"general.name") + len("general.name") + 12
    (tmp_path / "m.gguf").write_bytes(data[:place] + b"\xff" + data[place + 1 :])
    code, _, err = run_cli("exporter.cli", "inspect", tmp_path / "m.gguf")
    assert (code, "is a damaged or truncated GGUF file" in err) == (1, True), err
    code, out, _ = run_cli("exporter.cli", "verify", tmp_path / "m.gguf", "--base", tiny_base)
    assert (code, "file: differs" in out) == (1, True), out


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("files", []), ("files", {"f16.gguf": 5}), ("shards", "x"), ("tensor_types", 5), ("adapters", [5]), ("base", 5),
        ("source", {"manifest": 5}), ("source", {"manifest": {"shards": "x"}}),
    ],
)  # fmt: skip
def test_damaged_manifest_differs(key: str, value: object, exports: dict[str, Path], tmp_path: Path) -> None:
    output = Path(shutil.copyfile(exports["f16"], tmp_path / "f16.gguf"))
    table = json.loads(Path(f"{exports['f16']}.manifest.json").read_text())
    Path(f"{output}.manifest.json").write_text(json.dumps(table | {key: value}))
    code, out, _ = run_cli("exporter.cli", "verify", output)
    assert (code, "manifest: differs" in out) == (1, True), out
    code, out, _ = run_cli("exporter.cli", "inspect", output)
    assert (code, "manifest: differs" in out) == (1, True), out
