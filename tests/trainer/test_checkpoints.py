"""Checkpoints and adapters that are whole or not there."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from configs.errors import ToolError
from trainer import adapter, checkpoints, metrics

SHAPES = {"m.lora_A.weight": (2, 3), "m.lora_B.weight": (4, 2)}


def made(work: Path, step: int) -> Path:
    folder = work / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(b"o" * 100)
    (folder / "global_step" / "part").write_bytes(b"p" * 100)
    checkpoints.mark_complete(folder, {})
    return folder


def test_the_newest_whole_one_is_taken(tmp_path: Path) -> None:
    made(tmp_path, 9)
    made(tmp_path, 10)
    assert checkpoints.newest_complete(tmp_path) == (tmp_path / "checkpoint-10", [])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "complete.json").unlink(),
        lambda folder: (folder / "optimizer.pt").unlink(),
        lambda folder: (folder / "global_step" / "part").write_bytes(b"p" * 99),
        lambda folder: (folder / "optimizer.pt").write_bytes(b"x" * 100),
        lambda folder: (folder / "complete.json").write_text("{"),
    ],
)
def test_a_damaged_one_is_never_taken(damage: Callable[[Path], object], tmp_path: Path) -> None:
    made(tmp_path, 2)
    damage(made(tmp_path, 4))
    whole, torn = checkpoints.newest_complete(tmp_path)
    assert whole == tmp_path / "checkpoint-2"
    assert [checkpoints.set_aside(folder).name for folder in torn] == ["checkpoint-4.torn"]
    assert checkpoints.by_step(tmp_path) == [tmp_path / "checkpoint-2"]


def test_old_ones_go_when_new_ones_stand(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        made(tmp_path, step)
    checkpoints.prune(tmp_path, 2)
    assert [checkpoints.step_of(folder) for folder in checkpoints.by_step(tmp_path)] == [4, 10]


def good() -> dict[str, torch.Tensor]:
    return {name: torch.ones(shape) for name, shape in SHAPES.items()}


def test_a_good_adapter_passes_and_has_the_umasks_rights(tmp_path: Path) -> None:
    adapter.save_weights(tmp_path / "a.safetensors", good())
    adapter.check_weights(tmp_path / "a.safetensors", SHAPES)
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"m.lora_A.weight": torch.full((2, 3), float("nan"))}, "not finite"),
        ({"m.lora_B.weight": torch.full((4, 2), float("inf"))}, "not finite"),
        ({"m.lora_B.weight": torch.zeros(4, 2)}, "untrained"),
        ({"m.lora_A.weight": torch.ones(0)}, "not whole"),
        ({"extra.weight": torch.ones(1, 1)}, "not whole"),
    ],
)
def test_an_empty_or_broken_adapter_is_refused(change: dict[str, torch.Tensor], told: str, tmp_path: Path) -> None:
    adapter.save_weights(tmp_path / "a.safetensors", good() | change)
    with pytest.raises(ToolError, match=told):
        adapter.check_weights(tmp_path / "a.safetensors", SHAPES)


def test_a_torn_adapter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    adapter.save_weights(path, good())
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ToolError, match="not written whole"):
        adapter.check_weights(path, SHAPES)
    with pytest.raises(ToolError, match="not whole"):
        adapter.save_weights(path, {"a": torch.ones(1)})
        adapter.check_weights(path, {})


def test_metrics_survive_a_torn_line_and_forget_what_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        metrics.append(path, {"step": step, "loss": float("nan") if step == 2 else 1.0})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    metrics.truncate(path, 2)
    assert metrics.read(path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": None}]
