"""Packing: every row once a pass, hardly anything left empty, and no row that sees another."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.trainer.conftest import losses, records, run_fit, weights
from trainer.examples import Example
from trainer.order import lay_out
from trainer.packing import best_fit, packed_passes
from trainer.settings import TrainingSettings


def exam_lengths(rows: int) -> list[int]:
    """Lengths spread like those of the Formosa sheet's questions in tokens."""
    draw = random.Random(0)
    return [min(1267, max(60, round(draw.gauss(321, 100)))) for _ in range(rows)]


def test_every_row_is_in_one_sequence_of_a_pass_and_none_is_too_long() -> None:
    lengths = exam_lengths(5_000)
    first, second = islice(packed_passes(lengths, 1536, 0), 2)
    for one_pass in (first, second):
        assert sorted(row for rows in one_pass for row in rows) == list(range(5_000))
        assert max(sum(lengths[row] for row in rows) for rows in one_pass) <= 1536
        assert sum(lengths) / (1536 * len(one_pass)) > 0.97
    together = len(set(map(frozenset, first)) & set(map(frozenset, second)))
    assert together < 0.05 * len(first), "the same rows are packed together in every pass"
    assert first == next(packed_passes(lengths, 1536, 0)) != next(packed_passes(lengths, 1536, 1))


def test_best_fit_takes_the_fullest_sequence_that_has_room() -> None:
    assert best_fit([0, 1, 2, 3, 4], [6, 5, 4, 3, 2], 10) == [(0, 2), (1, 3, 4)]
    assert best_fit([0], [10], 10) == [(0,)]


def test_a_packed_run_is_counted_in_sequences() -> None:
    training = TrainingSettings(packing=True, max_length=100, epochs=2)
    order = lay_out([40] * 100, training, 4)
    assert (order.per_pass, order.steps, len(order.sequences)) == (50, 25, 100)
    plain = lay_out([40] * 100, training.model_copy(update={"packing": False}), 4)
    assert (plain.per_pass, plain.steps) == (100, 50)
    assert {len(rows) for rows in plain.sequences} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_learn_as_if_each_were_alone(attention: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from trainer.batches import Collator

    model = AutoModelForCausalLM.from_pretrained(tiny.base(tmp_path / "base"), attn_implementation=attention)
    draw = random.Random(1)
    examples = [
        Example(str(length), [draw.randrange(3, 600) for _ in range(length)], ((length // 3, length),))
        for length in (7, 12, 5, 9, 20)
    ]
    collate = Collator(examples, 0)

    def gradients(batches: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
        model.zero_grad()
        for batch in batches:
            inputs = {"input_ids": batch["input_ids"], "position_ids": batch.get("position_ids"), **changes}
            logits = model(**inputs, use_cache=False).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), batch["labels"][:, 1:].reshape(-1), reduction="sum"
            )
            loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    def distance(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
        return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)

    alone = gradients([collate([(row,)]) for row in range(5)])
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    packed = collate([(0, 1, 2), (3, 4)])
    assert packed["position_ids"].tolist()[1] == [*range(9), *range(20)]
    assert distance(gradients([packed]), alone) < 1e-5 * largest
    # The test sees the fault: with a mask, or without the positions, rows look at each other.
    mask = torch.ones_like(packed["input_ids"])
    assert distance(gradients([packed], attention_mask=mask), alone) > 1e-2 * largest
    assert distance(gradients([packed], position_ids=None), alone) > 1e-2 * largest


@pytest.mark.slow
def test_a_packed_run_is_the_same_in_one_pass_or_two(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    packed = {
        "training__packing": "true",
        "lora__dropout": 0,
        "training__max_length": 600,
        "training__group_by_length": "false",
    }
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", "none", **packed)
    assert code == 0, err
    assert "48 rows in " in err
    code, _, err = run_fit(
        tiny_base, dataset, tmp_path / "b", "--deepspeed", "none",
        **packed, training__batch_size=1, training__accumulation=2,
    )  # fmt: skip
    assert code == 0, err
    assert losses(tmp_path / "a") == pytest.approx(losses(tmp_path / "b"), abs=1e-5)
    assert records(tmp_path / "a")[0]["epoch"] > 2 / 48
    assert any(weights(tmp_path / "a"))
