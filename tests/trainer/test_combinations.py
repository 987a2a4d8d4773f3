"""What cannot work together is refused before anything loads, with the reason and what works instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny
from tests.trainer.conftest import run_fit
from trainer.combinations import check_combination
from trainer.settings import load_settings
from trainer.zero import deepspeed_config

REFUSED = [
    (("--set", "model.precision=f16"), "f16 needs a GPU", "bf16"),
    (("--set", "model.precision=bf16", "--deepspeed", "zero0"), "no f32 copy", "zero1"),
    (("--set", "training.method=full", "--set", "model.load_in=4"), "4 bits", "model.load_in=16"),
    (("--set", "training.method=embeddings", "--set", "model.load_in=8"), "8 bits", "model.load_in=16"),
    (("--set", "training.method=full", "--set", "lora.dora=true"), "lora.dora has no meaning", "training.method=lora"),
    (("--set", "training.method=full", "--set", "lora.plus_ratio=16"), "lora.plus_ratio", "training.method=lora"),
    (("--set", "training.method=full", "--init-adapter", "ADAPTER"), "--init-adapter has no meaning", "exporter merge"),
    (("--set", "lora.dora=true", "--set", "model.load_in=8"), "does not unpack from 8 bits", "model.load_in=4"),
    (
        ("--set", "lora.dora=true", "--set", "model.load_in=4", "--deepspeed", "zero3"),
        "which ZeRO-3 has split", "zero2",
    ),
    (("--set", "lora.targets=q_proj,embed_tokens"), "no linear layer", "lora.modules_to_save=embed_tokens"),
    (
        ("--set", "lora.targets=q_proj,lm_head", "--set", "lora.modules_to_save=lm_head"),
        "lm_head is in lora.targets and in lora.modules_to_save", "one of them",
    ),
    (("--set", "training.optimizer=cpu_adam"), "kept on the CPU", "zero2-offload"),
    (
        ("--set", "training.optimizer=adamw_8bit", "--deepspeed", "zero2-offload"),
        "keeps the optimizer on the CPU already", "training.optimizer=adamw",
    ),
    (("--deepspeed", "none", "--gpus", "2"), "one process", "zero2"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "reason", "remedy"), REFUSED)
def test_it_is_refused_with_the_reason_and_a_way_out(
    words: tuple[str, ...], reason: str, remedy: str, tiny_base: Path, tiny_adapter: Path, dataset: Path, tmp_path: Path
) -> None:
    given = [str(tiny_adapter) if word == "ADAPTER" else word for word in words]
    fitting = ("--set", "lora.rank=8", "--set", "lora.alpha=12")
    code, out, err = run_fit(tiny_base, dataset, tmp_path / "a", *fitting, *given)
    assert (code, out) == (2, "")
    assert reason in err
    assert remedy in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_output_matrix_of_a_tied_base_is_named_by_its_other_name(dataset: Path, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", tied=True)
    code, _, err = run_fit(base, dataset, tmp_path / "a", lora__modules_to_save="embed_tokens,lm_head")
    assert code == 2
    assert "the same matrix as embed_tokens" in err
    assert "--set lora.modules_to_save=embed_tokens" in err


@pytest.mark.parametrize("deepspeed", ["none", "zero1", "zero2-offload", "zero3-offload"])
@pytest.mark.parametrize("overrides", [("model.precision=f16",), ("lora.dora=true", "model.load_in=16")])
def test_what_only_a_cpu_refuses_a_gpu_does(deepspeed: str, overrides: tuple[str, ...]) -> None:
    settings = load_settings(overrides=overrides, deepspeed=deepspeed)
    config = deepspeed_config(deepspeed, settings, on_gpu=True)
    check_combination(settings, config, on_gpu=True, is_tied=False, continues_adapter=False)
