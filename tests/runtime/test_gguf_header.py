"""The header check names what is wrong before llama.cpp sees the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import ConfigError, ToolError
from runtime.gguf_header import read_header


def test_a_header_tells_metadata_and_shapes(models: Path) -> None:
    header = read_header(models / "model.gguf")
    assert header.architecture == "llama"
    assert header.block_count == 2
    assert header.tensors["blk.1.ffn_down.weight"] == (160, 64)
    assert header.size_bytes == (models / "model.gguf").stat().st_size
    assert not header.is_adapter
    assert read_header(models / "adapter.gguf").is_adapter


@pytest.mark.parametrize("kept", [0, 3, 23, 24, 100, 5000, 0.5, 0.999])
def test_a_truncated_file_is_refused(models: Path, tmp_path: Path, kept: float) -> None:
    data = (models / "model.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    is_recognised = path.stat().st_size >= 24
    with pytest.raises(ToolError, match="is truncated" if is_recognised else "is not a GGUF") as error:
        read_header(path)
    assert error.value.exit_code == (1 if is_recognised else 2)


def test_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    stranger = tmp_path / "model.gguf"
    stranger.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ConfigError, match="not a GGUF file"):
        read_header(stranger)
    with pytest.raises(ConfigError, match="is a folder"):
        read_header(tmp_path)
    with pytest.raises(ConfigError, match="no file"):
        read_header(tmp_path / "nothing.gguf")


@pytest.mark.parametrize(("at", "value"), [(4, 99), (8, 2**60), (16, 2**60), (24, 2**62)])
def test_absurd_counts_are_refused(models: Path, tmp_path: Path, at: int, value: int) -> None:
    data = bytearray((models / "model.gguf").read_bytes())
    width = 4 if at == 4 else 8
    data[at : at + width] = value.to_bytes(width, "little")
    path = tmp_path / "odd.gguf"
    path.write_bytes(data)
    with pytest.raises(ToolError, match=r"damaged|truncated|version 99"):
        read_header(path)


def test_random_damage_never_escapes_as_another_error(models: Path, tmp_path: Path) -> None:
    import random

    data = (models / "model.gguf").read_bytes()
    draw = random.Random(0)
    path = tmp_path / "damaged.gguf"
    for _ in range(100):
        damaged = bytearray(data[: draw.randrange(24, 40_000)])
        for _ in range(draw.randrange(1, 6)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(ToolError):
            read_header(path)
