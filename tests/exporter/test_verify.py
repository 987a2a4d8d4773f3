"""`exporter verify`: a true export is proven, and every way it can be wrong is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tiny
from tests.exporter import byte_level
from tests.exporter.adapters import make_adapter
from tests.exporter.conftest import merge
from tests.tiny import run_cli

Checks = dict[str, tuple[str, str]]


def verify(path: Path, base: Path | None = None, *adapters: object, **flags: object) -> tuple[int, Checks]:
    """Exit code, and status and sentence of every check."""
    words: list[object] = ["verify", path, "--json", *(["--base", base] if base else [])]
    for adapter in adapters:
        words += ["--adapter", adapter]
    for name, value in flags.items():
        words += [f"--{name}", value]
    code, out, err = run_cli("exporter.cli", *words)
    assert out, err
    table = json.loads(out)
    assert table["proven"] is (code == 0)
    return code, {check["name"]: (check["status"], check["detail"]) for check in table["checks"]}


@pytest.fixture
def export(exports: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies an export, with its manifest, to a place where it can be damaged."""

    def copy(name: str) -> Path:
        source = exports[name]
        if source.is_dir():
            return Path(shutil.copytree(source, tmp_path / source.name))
        shutil.copyfile(f"{source}.manifest.json", tmp_path / f"{source.name}.manifest.json")
        return Path(shutil.copyfile(source, tmp_path / source.name))

    return copy


def gguf_tensor(path: Path, name: str) -> np.ndarray:
    """A tensor of a GGUF, to change in place."""
    return next(tensor.data for tensor in gguf.GGUFReader(path, "r+").tensors if tensor.name == name)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", ["f32", "f16", "q4_0", "huggingface", pytest.param("bf16", marks=SLOW), pytest.param("q8_0", marks=SLOW)]
)
def test_true_exports_are_proven(kind: str, exports: dict[str, Path], tiny_base: Path, tiny_adapter: Path) -> None:
    code, checks = verify(exports[kind], tiny_base, tiny_adapter)
    assert code == 0, checks
    for name in ("manifest", "sources", "metadata", "tensor table", "tensors", "tokenizer"):
        assert checks[name][0] == "ok", checks[name]
    wanted = {"f32": "ok", "f16": "ok", "bf16": "ok", "huggingface": "not checked"}.get(kind, "measured")
    assert checks["logits"][0] == wanted, checks["logits"]
    if kind == "f32":
        assert float(checks["logits"][1].split("largest logit ")[1].split(",")[0]) < 1e-5
    if wanted == "measured":
        assert "KL" in checks["logits"][1]
        assert "same first token" in checks["logits"][1]


def test_checks_that_cannot_be_made_say_why(
    exports: dict[str, Path], tiny_base: Path, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, checks = verify(exports["f16"])
    assert code == 0
    assert checks["manifest"][0] == "ok"
    assert {status for name, (status, _) in checks.items() if name != "manifest"} == {"not checked"}
    assert "--base" in checks["tensors"][1]
    bare = Path(shutil.copyfile(exports["f16"], tmp_path / "bare.gguf"))
    monkeypatch.setattr("exporter.ggml.llama_child.has_llama_cpp", lambda: False)
    code, checks = verify(bare, tiny_base, tiny_adapter)
    assert code == 0
    assert checks["tensors"][0] == "ok"
    for name, why in (("manifest", "no bare.gguf.manifest.json"), ("sources", "no manifest"),
                      ("tokenizer", "not installed"), ("logits", "not installed")):  # fmt: skip
        assert checks[name][0] == "not checked"
        assert why in checks[name][1]


def test_people_read_a_line_for_every_check(export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path) -> None:
    path = export("q4_0")
    code, out, _ = run_cli("exporter.cli", "verify", path, "--base", tiny_base, "--adapter", tiny_adapter)
    assert code == 0
    assert "tensors: ok: all" in out
    assert "logits: measured: KL" in out
    assert out.endswith("nothing differs\n")
    code, out, _ = run_cli("exporter.cli", "verify", path)
    assert "tensors: not checked: it needs --base" in out
    assert out.endswith("nothing differs; 6 checks not made\n")
    path.write_bytes(path.read_bytes() + b"x")
    code, out, _ = run_cli("exporter.cli", "verify", path)
    assert code == 1
    assert "manifest: differs: q4_0.gguf is not the file that was written" in out
    assert out.splitlines()[-1].startswith(f"{path}: it differs")


@pytest.mark.parametrize("kind", ["q4_0", pytest.param("f16", marks=SLOW)])
def test_one_flipped_bit_is_found_and_named(
    kind: str, export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path
) -> None:
    path = export(kind)
    gguf_tensor(path, "blk.1.ffn_down.weight").view(np.uint8)[37, 5] ^= 4
    code, checks = verify(path, tiny_base, tiny_adapter)
    assert code == 1
    assert checks["manifest"] == ("differs", f"{path.name} is not the file that was written")
    assert checks["tensors"][0] == "differs"
    assert "1 of 21 tensors" in checks["tensors"][1]
    assert "blk.1.ffn_down.weight, from row 37" in checks["tensors"][1]


def test_flipped_byte_of_a_folder_is_found_and_named(
    export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path
) -> None:
    folder = export("huggingface")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] += 1e-4
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    code, checks = verify(folder, tiny_base, tiny_adapter)
    assert code == 1
    assert "model.safetensors is not the file" in checks["manifest"][1]
    assert "model.layers.1.mlp.up_proj.weight, from row 3" in checks["tensors"][1]


@pytest.mark.parametrize("kind", ["f16", pytest.param("f32", marks=SLOW), pytest.param("bf16", marks=SLOW)])
def test_wrong_row_order_is_found_by_bytes_and_by_logits(
    kind: str, export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path
) -> None:
    path = export(kind)
    for name in ("blk.0.attn_q.weight", "blk.0.attn_k.weight"):
        data = gguf_tensor(path, name)
        heads = data.reshape(-1, 8, 2, data.shape[1])  # 16 rows a head, as pairs; to Hugging Face's halves
        data[:] = heads.transpose(0, 2, 1, 3).reshape(data.shape).copy()
    code, checks = verify(path, tiny_base, tiny_adapter)
    assert code == 1
    assert "2 of 21" in checks["tensors"][1]
    assert "blk.0.attn_" in checks["tensors"][1]
    assert checks["logits"][0] == "differs", checks["logits"]
    assert checks["tokenizer"][0] == "ok"


def test_wrong_rotary_base_is_seen_in_the_logits_though_every_tensor_is_right(
    export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path
) -> None:
    path = export("f16")
    gguf.GGUFReader(path, "r+").fields["llama.rope.freq_base"].parts[-1][0] = 5000.0
    code, checks = verify(path, tiny_base, tiny_adapter)
    assert code == 1
    assert checks["tensors"][0] == "ok"
    assert checks["logits"][0] == "differs"
    assert "llama.rope.freq_base" in checks["metadata"][1]


@pytest.mark.parametrize("given", ["weight", "other", "none", "twice", "retrained"])
@pytest.mark.parametrize("kind", ["huggingface", pytest.param("q8_0", marks=SLOW)])
def test_other_sources_than_those_given_are_found(
    given: str, kind: str, exports: dict[str, Path], tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    adapters: dict[str, list[object]] = {
        "weight": [f"{tiny_adapter}=1.001"], "none": [], "twice": [tiny_adapter, tiny_adapter],
        "other": [tiny.adapter(tiny_base, tmp_path / "other", r=4, seed=9)] if given == "other" else [],
        "retrained": [tiny.adapter(tiny_base, tmp_path / "tiny-adapter", seed=9)] if given == "retrained" else [],
    }  # fmt: skip
    code, checks = verify(exports[kind], tiny_base, *adapters[given])
    assert code == 1
    assert checks["manifest"][0] == "ok"
    words = {"weight": "adapter weights [1.0], given were [1.001]", "other": "other (", "none": "given were none",
             "twice": "tiny-adapter, tiny-adapter", "retrained": "is not the one the export was made from"}  # fmt: skip
    assert checks["sources"][0] == "differs"
    assert words[given] in checks["sources"][1] or "other files than those given" in checks["sources"][1]
    assert checks["tensors"][0] == "differs"
    assert "14 of 21 tensors" in checks["tensors"][1]


def test_wrong_scale_is_found_without_a_manifest(
    export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    path = export("f32")
    Path(f"{path}.manifest.json").unlink()
    code, checks = verify(path, tiny_base, f"{tiny_adapter}=1.01")
    assert code == 1
    assert checks["sources"][0] == "not checked"
    assert checks["tensors"][0] == "differs"
    assert checks["logits"][0] == "differs"


def test_stale_manifest_is_found(export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path) -> None:
    path, older = export("q4_0"), export("q8_0")
    shutil.copyfile(older, path)
    code, checks = verify(path, tiny_base, tiny_adapter)
    assert code == 1
    assert checks["manifest"] == ("differs", "q4_0.gguf is not the file that was written")
    shutil.copyfile(f"{older}.manifest.json", f"{path}.manifest.json")
    code, checks = verify(path, tiny_base, tiny_adapter)
    assert code == 1
    assert checks["manifest"] == ("differs", "the manifest is of q8_0.gguf, not of q4_0.gguf")


def test_missing_and_foreign_tensors_of_a_folder_are_named(
    export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path
) -> None:
    folder = export("huggingface")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.7.strange.weight"] = tensors.pop("model.layers.0.mlp.up_proj.weight")
    tensors["model.norm.weight"] = torch.ones(65)
    tensors["lm_head.weight"] = tensors["lm_head.weight"].half()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    code, checks = verify(folder, tiny_base, tiny_adapter)
    assert code == 1
    for words in ("model.layers.0.mlp.up_proj.weight is missing", "model.layers.7.strange.weight is in no source",
                  "model.norm.weight is (65,)", "lm_head.weight is f16"):  # fmt: skip
        assert words in checks["tensor table"][1]
    (folder / "model.safetensors").unlink()
    assert "model.safetensors is missing" in verify(folder, tiny_base, tiny_adapter)[1]["manifest"][1]


def test_missing_tensor_of_a_gguf_is_named(export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path) -> None:
    path = export("f16")
    data = path.read_bytes()
    assert data.count(b"blk.1.attn_v.weight") == 1
    path.write_bytes(data.replace(b"blk.1.attn_v.weight", b"blk.1.attn_w.weight"))
    code, checks = verify(path, tiny_base, tiny_adapter)
    assert code == 1
    assert "blk.1.attn_v.weight is missing" in checks["tensor table"][1]
    assert "llama.cpp cannot do it" in checks["logits"][1]


def test_other_vocabulary_is_found(export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path) -> None:
    path = export("f16")
    scores = gguf.GGUFReader(path, "r+").fields["tokenizer.ggml.scores"]
    for number, part in enumerate(scores.data[259:]):
        scores.parts[part][0] = float(number)  # the last merges first
    code, checks = verify(path, tiny_base, tiny_adapter)
    assert code == 1
    assert checks["tokenizer"][0] == "differs"
    assert "texts otherwise, the first is" in checks["tokenizer"][1]
    assert "tokenizer.ggml.scores" in checks["metadata"][1]


def test_lost_tokenizer_model_and_changed_config_of_a_folder_are_found(
    export: Callable[[str], Path], tiny_base: Path, tiny_adapter: Path
) -> None:
    folder = export("huggingface")
    (folder / "tokenizer.model").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    code, checks = verify(folder, tiny_base, tiny_adapter)
    assert code == 1
    assert checks["tokenizer"] == ("differs", "tokenizer.model missing or not the sources'")
    assert "rms_norm_eps" in checks["metadata"][1]


def test_own_texts_are_used(exports: dict[str, Path], tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("欣怡今天說到秋天\n\nsecond line\nthird", encoding="utf-8")
    _, checks = verify(exports["f32"], tiny_base, tiny_adapter, texts=texts)
    assert "all 3 texts" in checks["tokenizer"][1]


def test_damaged_file_differs_in_one_sentence(export: Callable[[str], Path], tiny_base: Path) -> None:
    path = export("f32")
    path.write_bytes(path.read_bytes()[:-100])
    code, checks = verify(path, tiny_base)
    assert code == 1
    assert "truncated" in checks["file"][1]


def test_wrong_arguments(exports: dict[str, Path], tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "empty.txt").write_text("\n\n")
    path = exports["f32"]
    for words in (
        [tmp_path / "nothing"], [tmp_path / "letter.txt"], [tmp_path], [path, "--adapter", tiny_adapter],
        [path, "--base", tmp_path / "nowhere"], [path, "--texts", tmp_path / "no.txt"],
        [path, "--texts", tmp_path / "empty.txt"], [path, "--adapter", "x=much", "--base", "y"], [],
    ):  # fmt: skip
        code, out, err = run_cli("exporter.cli", "verify", *words)
        assert (code, out) == (2, ""), (words, err)


@SLOW
def test_bf16_sources_are_proven_too(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    """bf16 sources, eight heads on two, three layers, an output matrix in q6_K."""
    for kind in ("q4_0", "bf16"):
        path = merge(bf16_base, tmp_path / f"{kind}.gguf", bf16_adapter, type=kind)
        code, checks = verify(path, bf16_base, bf16_adapter)
        assert code == 0, checks


@SLOW
@pytest.mark.parametrize("words", [("--direct",), ("--tensor-type", "ffn_down=q8_0"), ("--tensor-type", "attn_k=f32")])
@pytest.mark.parametrize("kind", ["f16", "q4_k_m"])
def test_own_roundings_and_types_are_taken_from_the_manifest(
    words: tuple[str, ...], kind: str, bf16_base: Path, bf16_adapter: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.gguf"
    merge_words = ["merge", "--base", bf16_base, "--adapter", bf16_adapter, "--format", "gguf", "--type", kind]
    code, _, err = run_cli("exporter.cli", *merge_words, "--output", path, *words)
    assert code == 0, err
    code, checks = verify(path, bf16_base, bf16_adapter)
    assert code == 0, checks
    plain = kind == "f16" and "ffn_down=q8_0" not in words
    assert checks["logits"][0] == ("ok" if plain else "measured")


@SLOW
@pytest.mark.parametrize("kind", ["f32", "f16"])
@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "llama"])
def test_other_architectures_are_proven(architecture: str, kind: str, tmp_path: Path) -> None:
    base = byte_level.model(tmp_path / "base", architecture)
    code, checks = verify(merge(base, tmp_path / "m.gguf", type=kind), base)
    assert code == 0, checks
    assert checks["logits"][0] == "ok"
    assert checks["tokenizer"][0] == "ok"
    assert ("NFC" in checks["tokenizer"][1]) is (architecture != "llama")
    code, checks = verify(merge(base, tmp_path / "folder", format="huggingface"), base)
    assert code == 0, checks
    assert "tokenizer.json copied" in checks["tokenizer"][1]


@SLOW
@pytest.mark.parametrize(
    "fields",
    [
        {"use_dora": True, "target_modules": ["q_proj", "down_proj", "lm_head"]},
        {"target_modules": ["v_proj", "embed_tokens", "lm_head"]},
        {"modules_to_save": ["embed_tokens", "lm_head", "norm"]},
        {"rows": 700, "trainable_token_indices": list(range(640, 700))},
    ],
    ids=["dora", "embedding", "whole modules", "grown vocabulary"],
)
def test_every_kind_of_adapter_is_proven(fields: dict[str, Any], tiny_base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_base, tmp_path / "adapter", **fields)
    for kind in ("f32", "q8_0"):
        path = merge(tiny_base, tmp_path / f"{kind}.gguf", adapter, type=kind)
        code, checks = verify(path, tiny_base, adapter)
        assert code == 0, checks
        assert checks["logits"][0] == ("ok" if kind == "f32" else "measured")
    folder = merge(tiny_base, tmp_path / "folder", adapter, format="huggingface")
    code, checks = verify(folder, tiny_base, adapter)
    assert code == 0, checks
    assert verify(path, tiny_base)[0] == 1


@pytest.mark.parametrize(("tied", "shards"), [(False, 2), pytest.param(True, 1, marks=SLOW)])
def test_pth_folders_are_proven(tied: bool, shards: int, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", tied=tied, dtype="bfloat16")
    adapter = tiny.adapter(base, tmp_path / "adapter")
    folder = merge(base, tmp_path / "pth", adapter, format="pth", shards=shards)
    code, checks = verify(folder, base, adapter)
    assert code == 0, checks
    for name in ("manifest", "sources", "metadata", "tensor table", "tensors", "tokenizer"):
        assert checks[name][0] == "ok", checks[name]
    assert "pth folder" in checks["transformers' tokenizer"][1]
    (folder / "manifest.json").unlink()
    code, checks = verify(folder, base, f"{adapter}=1.5")
    assert code == 1
    assert "14 of" in checks["tensors"][1]
    params = json.loads((folder / "params.json").read_text())
    (folder / "params.json").write_text(json.dumps(params | {"rope_theta": 5.0}))
    code, checks = verify(folder, base, adapter)
    assert code == 1
    assert checks["tensors"][0] == "ok"
    assert "rope_theta" in checks["metadata"][1]


def test_a_pth_base_is_proven_too(tiny_base: Path, tmp_path: Path) -> None:
    base = merge(tiny_base, tmp_path / "pth", format="pth")
    path = merge(base, tmp_path / "m.gguf", type="f16")
    code, checks = verify(path, base)
    assert code == 0, checks
    assert checks["logits"][0] == "ok"


@pytest.mark.parametrize("way", ["as trained", pytest.param("original", marks=SLOW)])
def test_distance_to_both_bases_of_a_quantized_training_is_shown(way: str, tiny_base: Path, tmp_path: Path) -> None:
    adapter = tiny.adapter(tiny_base, tmp_path / "adapter")
    quantization = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16"}
    record = {"quantization": quantization, "compute_type": "bfloat16", "device": "cpu"}
    (adapter / "training.json").write_text(json.dumps(record))
    flags = ["--as-trained"] if way == "as trained" else []
    path = merge(tiny_base, tmp_path / "m.gguf", adapter, *flags, type="f16")
    code, checks = verify(path, tiny_base, adapter)
    assert code == 0, checks
    assert checks["logits"][0] == "ok"
    assert checks["distances"][0] == "measured"
    near, far = (float(part.split(" nats")[0].split()[-1]) for part in checks["distances"][1].split(", "))
    if way == "original":
        near, far = far, near
    assert near < far / 100
