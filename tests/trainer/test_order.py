"""Order of rows and learning rate: laid out from the seed alone."""

from __future__ import annotations

import pytest

from configs.errors import ConfigError
from trainer.order import lay_out, row_order, step_count
from trainer.schedule import rate_share
from trainer.settings import TrainingSettings


def test_every_row_comes_once_a_pass() -> None:
    order = row_order([10] * 7, 21, batch_size=1, group_by_length=True, seed=0)
    assert [sorted(order[start : start + 7]) for start in (0, 7, 14)] == [list(range(7))] * 3
    assert order[:7] != order[7:14]


def test_grouping_keeps_the_rows_and_puts_like_lengths_together() -> None:
    lengths = [(37 * place) % 100 for place in range(400)]
    grouped = row_order(lengths, 400, batch_size=8, group_by_length=True, seed=1)
    assert sorted(grouped) == list(range(400))
    spreads = [max(b) - min(b) for b in ([lengths[row] for row in grouped[i : i + 8]] for i in range(0, 400, 8))]
    assert max(spreads) <= 3


def test_the_same_rows_meet_in_a_step_however_it_is_cut() -> None:
    lengths = list(range(50))
    orders = [row_order(lengths, 48, batch_size=size, group_by_length=False, seed=3) for size in (1, 8)]
    assert orders[0] == orders[1]


@pytest.mark.parametrize(("steps", "epochs", "expected"), [(0, 2, 13), (0, 0.01, 1), (5, 2, 5)])
def test_steps_follow_epochs_unless_given(steps: int, epochs: float, expected: int) -> None:
    assert step_count(100, 16, steps=steps, epochs=epochs) == expected


@pytest.mark.parametrize("how", [{"steps": 10_000_000}, {"epochs": 1e300}])
def test_a_run_that_no_memory_holds_is_refused(how: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="more rows than can be laid out"):
        lay_out([10] * 7, TrainingSettings(**how), 16)


@pytest.mark.parametrize("scheduler", ["cosine", "linear", "constant"])
def test_the_rate_rises_and_falls_to_its_floor(scheduler: str) -> None:
    training = TrainingSettings(warmup=10, scheduler=scheduler, final_learning_rate=0.1)  # type: ignore[arg-type]
    shares = [rate_share(step, 100, training) for step in range(101)]
    assert 0 < shares[0] < shares[9] < shares[10] == 1
    assert shares[100] == pytest.approx(1 if scheduler == "constant" else 0.1)
    assert sorted(shares[10:], reverse=True) == shares[10:]


def test_a_warmup_below_one_is_a_share_of_the_steps() -> None:
    assert rate_share(3, 100, TrainingSettings(warmup=0.03)) == 1
    assert rate_share(2, 100, TrainingSettings(warmup=0.03)) == 0.75
