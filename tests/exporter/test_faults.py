"""What can go wrong while a merge runs: killed at any moment, stopped, sent into its own inputs, or too large a value."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.exporter.conftest import merge
from tests.exporter.test_outputs import DIE_WHILE_WRITING, ROOT, run_child, words
from tests.tiny import run_cli


def hashes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gguf", "huggingface", "pth"])
def test_sigkill_at_ten_random_moments_leaves_the_old_or_the_whole_new(
    kind: str, bf16_base: Path, bf16_adapter: Path, tmp_path: Path
) -> None:
    """Killed by the clock from outside, from the first import to the last rename; the file before stands until the end."""
    draw = random.Random(kind)
    output, whole = tmp_path / "out", tmp_path / "whole"
    merge(bf16_base, whole, bf16_adapter, format=kind, name="m")
    flags = [*words(bf16_base, output, kind), "--adapter", bf16_adapter, "--name", "m"]
    command = [sys.executable, "-P", "-m", "exporter.cli", "merge", *map(str, flags)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    longest = time.monotonic() - start
    shutil.rmtree(output) if output.is_dir() else output.unlink()
    (tmp_path / "out.manifest.json").unlink(missing_ok=True)
    for _ in range(10):
        child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.3, 1.0) * longest)
        child.kill()
        child.wait()
        if not output.exists():
            continue
        assert hashes(output) == hashes(whole) if output.is_dir() else output.read_bytes() == whole.read_bytes()
        shutil.rmtree(output) if output.is_dir() else output.unlink()
    assert merge(bf16_base, output, bf16_adapter, format=kind, name="m").exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 7, 18, 21])
def test_sigkill_at_any_write_keeps_the_file_that_stood_there(count: int, tiny_base: Path, tmp_path: Path) -> None:
    output = merge(tiny_base, tmp_path / "out", type="q8_0")
    before = output.read_bytes()
    code = DIE_WHILE_WRITING.format(count=count, signal="SIGKILL")
    done = run_child(code, [*words(tiny_base, output), "--overwrite"])
    assert done.returncode == -signal.SIGKILL
    assert output.read_bytes() == before


def test_sigterm_while_writing_a_gguf_removes_what_was_begun(tiny_base: Path, tmp_path: Path) -> None:
    output = merge(tiny_base, tmp_path / "place" / "out", type="q8_0")
    before = hashes(output.parent)
    code = DIE_WHILE_WRITING.format(count=9, signal="SIGTERM")
    done = run_child(code, [*words(tiny_base, output), "--overwrite"])
    assert done.returncode == 143, done.stderr
    assert hashes(output.parent) == before


@pytest.mark.parametrize("kind", ["gguf", "huggingface"])
@pytest.mark.parametrize("whose", ["base", "adapter"])
def test_output_inside_an_input_folder_is_refused_through_links_too(
    whose: str, kind: str, tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    inputs = {
        "base": Path(shutil.copytree(tiny_base, tmp_path / "base")),
        "adapter": Path(shutil.copytree(tiny_adapter, tmp_path / "adapter")),
    }
    before = {name: hashes(folder) for name, folder in inputs.items()}
    link, loop = tmp_path / "link", tmp_path / "elsewhere"
    link.symlink_to(inputs[whose])
    loop.mkdir()
    (loop / "up").symlink_to(inputs[whose] / ".." / whose)
    for output in (link / "out", link, loop / "up" / "out", tmp_path / "elsewhere" / ".." / whose / "out"):
        code, _, err = run_cli(
            "exporter.cli", "merge", *words(inputs["base"], output, kind), "--adapter", inputs["adapter"], "--overwrite"
        )
        assert code == 2, output
        assert "would write into the input folder" in err
    assert {name: hashes(folder) for name, folder in inputs.items()} == before
    assert link.is_symlink()


def test_input_given_through_a_link_is_still_an_input(tiny_base: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    (tmp_path / "link").symlink_to(base)
    code, _, err = run_cli("exporter.cli", "merge", *words(tmp_path / "link", base / "out"))
    assert code == 2
    assert "would write into the input folder" in err


def test_f16_overflow_that_only_the_adapter_makes_names_the_tensor_and_removes_the_output(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    """Base and adapter are each well within f16; their sum is not."""
    adapter = Path(shutil.copytree(tiny_adapter, tmp_path / "adapter"))
    tensors = load_file(adapter / "adapter_model.safetensors")
    prefix = "base_model.model.model.layers.1.mlp.gate_proj.lora_"
    tensors[f"{prefix}A.weight"] = torch.full_like(tensors[f"{prefix}A.weight"], 100.0)
    tensors[f"{prefix}B.weight"] = torch.full_like(tensors[f"{prefix}B.weight"], 100.0)
    save_file(tensors, adapter / "adapter_model.safetensors", {"format": "pt"})
    place = tmp_path / "place"
    for file_type in ("f16", "q4_0", "q8_0"):
        code, _, err = run_cli(
            "exporter.cli", "merge", *words(tiny_base, place / "m.gguf"), "--adapter", adapter, "--type", file_type
        )
        assert code == 1
        assert "blk.1.ffn_gate.weight" in err
        assert "more than f16 can" in err
        assert list(place.iterdir()) == []
    code, _, err = run_cli(
        "exporter.cli", "merge", *words(tiny_base, place / "m", "huggingface"), "--adapter", adapter, "--type", "f16"
    )
    assert code == 1
    assert "model.layers.1.mlp.gate_proj.weight" in err
    assert list(place.iterdir()) == []


def test_dry_run_says_types_sizes_memory_disk_and_time(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    again = [*words(tiny_base, tmp_path / "out" / "m.gguf"), "--adapter", tiny_adapter, "--dry-run"]
    code, out, _ = run_cli("exporter.cli", "merge", *again)
    assert code == 0
    for word in ("tensors   21", "q4_0 of", "free)", "memory    about", "time      about", "are read", "written",
                 "nothing was written"):  # fmt: skip
        assert word in out
    code, out, _ = run_cli("exporter.cli", "merge", *again, "--json")
    table = json.loads(out)
    assert table["seconds"] > 0
    assert table["peak_memory_bytes"] > 1 << 20
    assert sum(table["type_bytes"].values()) < table["bytes"]
    assert set(table["type_bytes"]) == set(table["types"])
    assert not (tmp_path / "out").exists()


def test_verbose_does_not_claim_that_nothing_is_written(tiny_base: Path, tmp_path: Path) -> None:
    code, _, err = run_cli("exporter.cli", "merge", *words(tiny_base, tmp_path / "m.gguf"), "--verbose")
    assert code == 0
    assert "memory" in err
    assert "nothing was written" not in err
