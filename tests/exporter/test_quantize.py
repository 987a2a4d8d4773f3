"""`exporter quantize` against llama-quantize: whole files; and what it refuses."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import gguf
import pytest

from exporter.ggml.types import FILE_TYPES
from tests import tiny
from tests.exporter.conftest import merge
from tests.exporter.oracles import gguf_keys, llama_quantize
from tests.tiny import run_cli


def quantize(source: Path, output: Path, file_type: str, *words: object) -> Path:
    code, _, err = run_cli("exporter.cli", "quantize", source, "--type", file_type, "--output", output, *words)
    assert code == 0, err
    return output


@pytest.mark.parametrize("plain", ["f16", *(pytest.param(name, marks=pytest.mark.slow) for name in ("f32", "bf16"))])
def test_whole_file_is_llama_quantizes(plain: str, bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    source = merge(bf16_base, tmp_path / "plain.gguf", bf16_adapter, type=plain)
    assert {"lora2edge.prompt_format", "lora2edge.question_format"} <= gguf_keys(source).keys()
    for file_type in ("q4_0", "q5_1", "q4_k_m", "iq4_xs", "q8_0", "f16", "f32", "bf16"):
        ours = quantize(source, tmp_path / f"ours-{file_type}.gguf", file_type, "--threads", 2)
        llama_quantize(source, tmp_path / "theirs.gguf", FILE_TYPES[file_type])
        assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes(), file_type


@pytest.mark.parametrize("shape", [{"tied": True, "hidden": 256}, {"hidden": 72, "heads": 4, "intermediate": 136}])
def test_tied_and_ragged_files(shape: dict[str, object], tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", **shape)  # type: ignore[arg-type]
    source = merge(base, tmp_path / "plain.gguf", type="f16")
    for file_type in ("q4_1", "q3_k_m", "q6_k"):
        ours = quantize(source, tmp_path / f"ours-{file_type}.gguf", file_type)
        llama_quantize(source, tmp_path / "theirs.gguf", FILE_TYPES[file_type])
        assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes(), file_type


def test_merge_then_quantize_is_merge(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    rule = ("--tensor-type", "ffn_up=q5_0")
    source = merge(bf16_base, tmp_path / "f16.gguf", bf16_adapter, type="f16", name="m")
    once = merge(bf16_base, tmp_path / "once.gguf", bf16_adapter, *rule, type="q4_k_s", name="m")
    assert quantize(source, tmp_path / "twice.gguf", "q4_k_s", *rule).read_bytes() == once.read_bytes()


def test_verify_proves_it_against_base_and_adapter(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    source = merge(bf16_base, tmp_path / "f16.gguf", bf16_adapter, type="f16", name="m")
    path = quantize(source, tmp_path / "q.gguf", "q4_k_m", "--tensor-type", "ffn_up=q6_k")
    code, out, err = run_cli("exporter.cli", "verify", path, "--base", bf16_base, "--adapter", bf16_adapter)
    assert code == 0, out + err
    assert run_cli("exporter.cli", "verify", path, "--base", bf16_base)[0] == 1


def test_outputs_that_exist(bf16_base: Path, tmp_path: Path) -> None:
    source = merge(bf16_base, tmp_path / "f16.gguf", type="f16")
    words = ["quantize", source, "--output", tmp_path / "q.gguf"]
    code, out, _ = run_cli("exporter.cli", *words, "--type", "q8_0", "--json")
    assert (code, json.loads(out)["already_made"]) == (0, False)
    assert run_cli("exporter.cli", "inspect", tmp_path / "q.gguf")[1].splitlines()[1] == "manifest: matches"
    code, out, err = run_cli("exporter.cli", *words, "--type", "q8_0", "--json")
    assert (code, json.loads(out)["already_made"], "already made" in err) == (0, True, True)
    assert run_cli("exporter.cli", *words, "--type", "q4_0")[0] == 2
    assert run_cli("exporter.cli", *words, "--type", "q4_0", "--overwrite")[0] == 0
    assert run_cli("exporter.cli", "quantize", source, "--type", "q8_0", "--output", source)[0] == 2


def test_a_quantized_file_is_refused_with_the_remedy(bf16_base: Path, tmp_path: Path) -> None:
    source = merge(bf16_base, tmp_path / "q.gguf", type="q8_0")
    words = ["quantize", source, "--output", tmp_path / "out.gguf", "--type"]
    code, _, err = run_cli("exporter.cli", *words, "q4_0")
    assert code == 1
    assert "quantized already" in err
    assert "--type f16" in err
    quantize(source, tmp_path / "out.gguf", "q8_0")  # every tensor is of its type already: copied
    llama_quantize(source, tmp_path / "theirs.gguf", FILE_TYPES["q8_0"])
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


@pytest.mark.parametrize(
    ("plain", "file_type", "bits", "reason"),
    [
        ("f16", "q4_0", b"\x00\x7e", "not finite"),
        ("f32", "q4_k_m", b"\x00\x00\x80\x7f", "not finite"),
        ("bf16", "f16", b"\x00\x48", "more than f16 can"),
    ],
)
def test_values_that_no_file_should_hold(
    plain: str, file_type: str, bits: bytes, reason: str, bf16_base: Path, tmp_path: Path
) -> None:
    good = merge(bf16_base, tmp_path / "plain.gguf", type=plain)
    data = bytearray(good.read_bytes())
    matrix = next(tensor for tensor in gguf.GGUFReader(good).tensors if tensor.name == "blk.1.ffn_up.weight")
    data[matrix.data_offset : matrix.data_offset + len(bits)] = bits
    (tmp_path / "bad.gguf").write_bytes(data)
    words = ["quantize", tmp_path / "bad.gguf", "--type", file_type, "--output", tmp_path / "out" / "m.gguf"]
    code, _, err = run_cli("exporter.cli", *words)
    assert (code, reason in err, matrix.name in err) == (1, True, True), err
    assert not list((tmp_path / "out").iterdir())


def test_other_files_are_refused(bf16_base: Path, bf16_adapter: Path, tmp_path: Path) -> None:
    whole = merge(bf16_base, tmp_path / "f16.gguf", type="f16").read_bytes()
    lora = tmp_path / "lora.gguf"
    assert run_cli("exporter.cli", "adapter", "--adapter", bf16_adapter, "--base", bf16_base, "--output", lora)[0] == 0
    cases = {
        "empty": (b"", 2, "is not a GGUF"),
        "other": (b"PK\3\4 and so on", 2, "is not a GGUF"),
        "version": (whole[:4] + struct.pack("<I", 9) + whole[8:], 1, "version 9"),
        "cut in the header": (whole[:5000], 1, "ends inside its header"),
        "cut in the weights": (whole[:-100_000], 1, "is truncated"),
        "architecture": (whole.replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0gemma", 1), 1, "architecture gemma"),
        "promises": (whole[:16] + struct.pack("<Q", 2**60) + whole[24:], 1, "truncated"),
        "adapter": (lora.read_bytes(), 1, "its type is adapter"),
    }
    for name, (data, exit_code, reason) in cases.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(data)
        words = ["quantize", path, "--type", "q8_0", "--output", tmp_path / "out" / "m.gguf"]
        code, _, err = run_cli("exporter.cli", *words)
        assert (code, reason in err) == (exit_code, True), (name, err)
    assert (
        run_cli("exporter.cli", "quantize", tmp_path / "no.gguf", "--type", "q8_0", "--output", tmp_path / "o")[0] == 2
    )
    assert run_cli("exporter.cli", "quantize", lora, "--type", "q9_9", "--output", tmp_path / "o")[0] == 2
    assert not (tmp_path / "out").exists()
