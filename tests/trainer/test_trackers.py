"""Records for other programs, and what the bar says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests import tiny
from tests.trainer.conftest import fit_arguments, records, run_fit
from trainer.pace import Pace
from trainer.trackers import parse_trackers


def test_names_are_taken_once() -> None:
    assert parse_trackers("") == ()


def test_a_package_that_is_not_there_is_one_sentence_before_anything_starts(
    tiny_base: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else found(name))
    code, out, err = run_fit(tiny_base, dataset, tmp_path / "a", "--report-to", "wandb")
    assert (code, out) == (3, "")
    assert "the package wandb is not installed" in err
    assert err.count("\n") == 1
    code, _, err = tiny.run_cli(
        "trainer.cli", *fit_arguments(tiny_base, dataset, tmp_path / "a", "--report-to", "comet")
    )
    assert code == 2
    assert "tensorboard, wandb" in err
    assert list(tmp_path.iterdir()) == []


def test_the_pace_leaves_evaluations_out() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.tokens_per_second == 0
    pace.count(300)
    now[0] = 2
    with pace.paused():
        now[0] = 100
    pace.count(100)
    now[0] = 102
    assert (pace.tokens, pace.tokens_per_second) == (400, 100)


@pytest.mark.slow
def test_tensorboard_gets_every_number_and_the_bar_has_speed_and_memory(
    tiny_base: Path, dataset: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    output = tmp_path / "a"
    code, _, err = run_fit(tiny_base, dataset, output, "--deepspeed", "none", "--report-to", "tensorboard")
    assert code == 0, err
    last = [line for line in err.splitlines() if line.startswith("fit: ")][-1]
    for part in ("4/4 steps", "loss ", "accuracy ", " tokens/s", " GiB"):
        assert part in last
    steps = [line for line in records(output) if "loss" in line]
    assert all(line["tokens_per_second"] > 0 and line["memory"] > 1 << 26 for line in steps)
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([line["loss"] for line in steps])
    assert len(events.Scalars("eval_accuracy")) == 2
    code, _, err = run_fit(tiny_base, dataset, output, "--deepspeed", "none", "--overwrite", training__seed=1)
    assert code == 0, err
    assert not (output / "tensorboard").exists()


@pytest.mark.slow
def test_wandb_stays_offline(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", "none", "--report-to", "wandb")
    assert code == 0, err
    (run,) = (tmp_path / "a" / "wandb").glob("offline-run-*/*.wandb")
    assert run.stat().st_size > 500
