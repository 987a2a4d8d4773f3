"""Packing: every row once a pass, hardly anything left empty, and no row that sees another."""

from __future__ import annotations

import random
from itertools import islice, pairwise
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


def short_rows() -> list[Example]:
    """Five rows of random tokens, of which the last two thirds are trained."""
    draw = random.Random(1)
    return [
        Example(str(length), [draw.randrange(3, 600) for _ in range(length)], ((length // 3, length),))
        for length in (7, 12, 5, 9, 20)
    ]


def gradients(model: Any, batches: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Of the loss summed over all batches."""
    import torch

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
    """The largest difference, as a share of the largest number."""
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) / largest


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_learn_as_if_each_were_alone(attention: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from trainer.batches import Collator

    model = AutoModelForCausalLM.from_pretrained(tiny.base(tmp_path / "base"), attn_implementation=attention)
    collate = Collator(short_rows(), 0)
    alone = gradients(model, [collate([(row,)]) for row in range(5)])
    packed = collate([(0, 1, 2), (3, 4)])
    assert packed["position_ids"].tolist()[1] == [*range(9), *range(20)]
    assert distance(gradients(model, [packed]), alone) < 1e-5
    # The test sees the fault: with a mask, or without the positions, rows look at each other.
    mask = torch.ones_like(packed["input_ids"])
    assert distance(gradients(model, [packed], attention_mask=mask), alone) > 1e-2
    assert distance(gradients(model, [packed], position_ids=None), alone) > 1e-2


def put_flash_attn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two functions of flash-attn that transformers calls, in plain torch: which of them it calls, and with what, is
    transformers' own choice."""
    import torch
    from transformers import modeling_flash_attention_utils as flash

    def flash_attn_func(
        q: Any, k: Any, v: Any, dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False
    ) -> Any:
        heads_first = (array.transpose(1, 2) for array in (q, k, v))
        return torch.nn.functional.scaled_dot_product_attention(
            *heads_first, dropout_p=dropout_p, is_causal=causal, scale=softmax_scale, enable_gqa=True
        ).transpose(1, 2)

    def flash_attn_varlen_func(
        q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, max_seqlen_q: Any, max_seqlen_k: Any,
        dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    ) -> Any:  # fmt: skip
        assert cu_seqlens_q.tolist() == cu_seqlens_k.tolist()
        parts = [slice(start, end) for start, end in pairwise(cu_seqlens_q.tolist())]
        alone = [
            flash_attn_func(q[None, part], k[None, part], v[None, part], dropout_p, softmax_scale, causal)[0]
            for part in parts
        ]
        return torch.cat(alone)

    monkeypatch.setattr(flash, "_loaded_implementation", "flash_attention_2")
    monkeypatch.setattr(flash, "_flash_fn", flash_attn_func)
    monkeypatch.setattr(flash, "_flash_varlen_fn", flash_attn_varlen_func)
    process = flash._lazy_define_process_function(flash_attn_varlen_func)
    monkeypatch.setattr(flash, "_process_flash_kwargs_fn", process)


@pytest.mark.slow
def test_rows_that_flash_attn_is_given_in_one_line_learn_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    from trainer.batches import Collator

    put_flash_attn_in_place(monkeypatch)
    model = AutoModelForCausalLM.from_pretrained(tiny.base(tmp_path / "base"))
    model.config._attn_implementation = "flash_attention_2"
    collate = Collator(short_rows(), 0, in_one_line=True)
    alone = gradients(model, [collate([(row,)]) for row in range(5)])
    packed = collate([(0, 1, 2), (3, 4)])
    assert packed["input_ids"].shape == (1, 53)
    assert packed["rows"].tolist() == [0, 1, 2, 3, 4]
    assert distance(gradients(model, [packed]), alone) < 1e-5
    # The test sees the fault: of two lines transformers does not look at the positions.
    assert distance(gradients(model, [Collator(short_rows(), 0)([(0, 1, 2), (3, 4)])]), alone) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "flash_attention_2"])
def test_the_loop_gives_flash_attn_one_line_and_others_as_many_as_the_batch_has(
    attention: str, tiny_base: Path, dataset: Path, tmp_path: Path
) -> None:
    import torch

    from trainer.fit import training_arguments
    from trainer.job import FitRequest, plan_job
    from trainer.loop import FitTrainer
    from trainer.model import load_model
    from trainer.settings import load_settings
    from trainer.work import Reporter

    settings = load_settings("formosa", ["training.packing=true", "training.batch_size=2", "training.steps=1"], "none")
    job = plan_job(FitRequest(model=str(tiny_base), data=dataset, output=tmp_path / "a", settings=settings))
    assert job is not None
    args = training_arguments(job, 1)[1]
    model = load_model(job, torch.float32, args.device)
    model.config._attn_implementation = attention
    trainer = FitTrainer(
        job=job, model=model, args=args, order=lay_out([7, 12, 5, 9, 20], settings.training, 2), examples=short_rows(),
        probes=[], others=[], padding_id=0, reporter=Reporter(tmp_path),
    )  # fmt: skip
    lines = len(trainer.data_collator([(0, 1, 2), (3, 4)])["input_ids"])
    assert lines == (1 if attention == "flash_attention_2" else 2)


@pytest.mark.slow
def test_a_packed_run_learns_what_one_row_at_a_time_does(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    same = {"lora__dropout": 0, "training__steps": 1, "training__max_length": 8000}
    ways = {
        "alone": {"training__batch_size": 1, "training__accumulation": 48},
        "packed": {"training__batch_size": 1, "training__packing": "true", "training__gradient_checkpointing": "true"},
    }
    for name, changes in ways.items():
        code, _, err = run_fit(tiny_base, dataset, tmp_path / name, "--deepspeed", "none", **same, **changes)
        assert code == 0, err
    assert "48 rows in 1 sequences" in err
    first = {name: next(line for line in records(tmp_path / name) if "loss" in line) for name in ways}
    for key in ("loss", "grad_norm"):
        assert first["packed"][key] == pytest.approx(first["alone"][key], rel=1e-5)


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
