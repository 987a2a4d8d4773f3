"""Kernels with and without llama-cpp-python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from exporter.ggml import kernels
from exporter.transforms.rotary_rows import interleave_rotary_rows
from tests.exporter.conftest import merge
from tests.tiny import run_cli


@pytest.fixture
def no_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_library_path", lambda: None)


@pytest.mark.parametrize("dtype", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])
def test_numpy_and_ggml_agree_on_ordinary_rows(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(80, 320, generator=torch.Generator().manual_seed(0))
    ggml = bytes(kernels.encoder(dtype, tensor_name="t", through_f16=True)(rows))
    monkeypatch.setattr(kernels, "_library_path", lambda: None)
    assert bytes(kernels.encoder(dtype, tensor_name="t", through_f16=True)(rows)) == ggml


@pytest.mark.usefixtures("no_llama_cpp")
def test_without_llama_cpp_numpy_quantizes_and_says_so(tiny_base: Path, tmp_path: Path) -> None:
    words = ["--base", tiny_base, "--format", "gguf", "--output", tmp_path / "m.gguf"]
    code, _, err = run_cli("exporter.cli", "merge", *words)
    assert code == 0
    assert "quantizing with numpy" in err


@pytest.mark.parametrize("kind", ["ordinary", "on the borders", "zeros among them", "of many sizes", "denormal"])
def test_our_q6_k_is_ggmls(kind: str) -> None:
    draw = torch.Generator().manual_seed(1)
    rows = torch.randn(96, 512, generator=draw)
    if kind == "on the borders":
        rows = torch.randint(-8, 9, (96, 512), generator=draw) / 8
    elif kind == "zeros among them":
        rows[:, :256], rows[:, 300:320], rows[5] = 0, 0, -0.0
    elif kind == "of many sizes":
        rows *= 10.0 ** torch.randint(-20, 4, rows.shape, generator=draw)
    elif kind == "denormal":
        rows = (rows * 1e-7).half().float()
    assert bytes(kernels._quantize_numpy("q6_K", rows)) == bytes(kernels._quantize_ggml("q6_K", rows))


@pytest.mark.usefixtures("no_llama_cpp")
def test_without_llama_cpp_k_types_name_the_extra_and_the_old_types_work(
    bf16_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file_type in ("q2_k", "q3_k_m", "q4_k_m", "q5_k_s", "iq4_nl", "iq4_xs"):
        words = ["--base", bf16_base, "--format", "gguf", "--output", tmp_path / "m.gguf", "--type", file_type]
        code, _, err = run_cli("exporter.cli", "merge", *words)
        assert (code, "lora2edge[export]" in err) == (3, True), err
    assert not list(tmp_path.iterdir())
    for file_type in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q6_k"):
        here = merge(bf16_base, tmp_path / f"{file_type}.gguf", type=file_type, name="m").read_bytes()
        monkeypatch.undo()
        assert here == merge(bf16_base, tmp_path / "with" / f"{file_type}.gguf", type=file_type, name="m").read_bytes()
        monkeypatch.setattr(kernels, "_library_path", lambda: None)


def halve_rotary_rows(rows_OI: torch.Tensor, head_rows: int) -> torch.Tensor:
    """From pairs back to halves: what Meta's `pth` source does by row numbers."""
    columns = rows_OI.shape[1]
    return rows_OI.view(-1, head_rows // 2, 2, columns).transpose(1, 2).reshape(-1, columns)


def test_rotary_orders_are_inverse_and_pair_halves() -> None:
    rows = torch.arange(24.0).view(12, 2)
    there = interleave_rotary_rows(rows, 6)
    assert there[:, 0].tolist() == [0, 6, 2, 8, 4, 10, 12, 18, 14, 20, 16, 22]
    assert torch.equal(halve_rotary_rows(there, 6), rows)
