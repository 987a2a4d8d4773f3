"""`exporter inspect`, and the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exporter.conftest import merge
from tests.tiny import run_cli


def inspect(path: Path) -> dict[str, object]:
    code, out, err = run_cli("exporter.cli", "inspect", path, "--json")
    assert code == 0, err
    return json.loads(out)


def test_gguf_is_described(exports: dict[str, Path]) -> None:
    found = inspect(exports["q4_0"])
    assert found["kind"] == "GGUF model"
    assert found["manifest"] == "matches"
    assert found["metadata"]["general.architecture"] == "llama"
    assert found["metadata"]["tokenizer.ggml.tokens"] == "[640 entries]"
    tensors = {tensor["name"]: tensor for tensor in found["tensors"]}
    assert tensors["blk.0.ffn_up.weight"] == {
        "name": "blk.0.ffn_up.weight", "type": "q4_0", "shape": [160, 64], "bytes": 160 * 64 // 32 * 18,
    }  # fmt: skip
    code, out, _ = run_cli("exporter.cli", "inspect", exports["q4_0"])
    assert code == 0
    assert "manifest: matches" in out
    assert "general.architecture = llama" in out


def test_folders_are_described(exports: dict[str, Path], tiny_adapter: Path, tiny_base: Path) -> None:
    assert inspect(exports["huggingface"])["manifest"] == "matches"
    assert inspect(tiny_base)["manifest"] == "none"
    found = inspect(tiny_adapter)
    assert found["kind"] == "adapter folder"
    assert found["metadata"]["r"] == 8
    assert len(found["tensors"]) == 28


def test_changed_file_differs_from_its_manifest(tiny_base: Path, tmp_path: Path) -> None:
    path = merge(tiny_base, tmp_path / "m.gguf")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, out, _ = run_cli("exporter.cli", "inspect", path)
    assert code == 1
    assert "manifest: differs" in out


@pytest.mark.parametrize(
    ("cut", "exit_code", "sentence"),
    [(0, 2, "not a GGUF"), (4, 1, "damaged or truncated"), (900, 1, "damaged or truncated"), (-40, 1, "truncated")],
)
def test_truncated_gguf_is_one_sentence(
    cut: int, exit_code: int, sentence: str, exports: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(exports["q4_0"].read_bytes()[:cut])
    code, _, err = run_cli("exporter.cli", "inspect", path)
    assert code == exit_code
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_what_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "letter.gguf").write_text("dear reader")
    assert run_cli("exporter.cli", "inspect", tmp_path / "letter.gguf")[0] == 2
    assert run_cli("exporter.cli", "inspect", tmp_path / "nothing")[0] == 2
    assert run_cli("exporter.cli", "inspect", tmp_path)[0] == 2


@pytest.mark.parametrize("words", [[], ["merge"], ["adapter"], ["inspect"]])
def test_help_names_the_command(words: list[str]) -> None:
    code, out, _ = run_cli("exporter.cli", *words, "--help")
    assert code == 0
    assert "usage: exporter" in out


def test_inspecting_imports_no_torch(exports: dict[str, Path]) -> None:
    code = (
        "import sys\nfrom exporter.cli import main\n"
        f"assert main(['inspect', {str(exports['huggingface'])!r}]) == 0\n"
        "assert not {'torch', 'transformers', 'peft', 'llama_cpp'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parents[2])
