"""How attention and the optimizer are computed is a choice that changes speed, not what is learnt."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from configs.errors import MachineError
from tests.trainer.conftest import losses, run_fit
from tests.trainer.fork_server import ForkServer
from trainer.model import attention_kind
from trainer.settings import ModelSettings

SAME = {"lora__dropout": 0, "training__packing": "true", "training__max_length": 300, "training__batch_size": 1}


def trained(output: Path) -> dict[str, Any]:
    return load_file(output / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.xdist_group("trainings")
@pytest.mark.parametrize("changes", [{"model__attention": "eager"}, {"training__fused": "on"}], ids=str)
def test_every_choice_learns_the_same(
    changes: dict[str, str], trainings: ForkServer, tiny_base: Path, dataset: Path, tmp_path: Path
) -> None:
    for name, more in (("plain", {}), ("chosen", changes)):
        code, _, err = trainings.fit(tiny_base, dataset, tmp_path / name, "--deepspeed", "none", **SAME, **more)
        assert code == 0, err
    assert losses(tmp_path / "chosen") == pytest.approx(losses(tmp_path / "plain"), abs=1e-5)
    ours, theirs = trained(tmp_path / "chosen"), trained(tmp_path / "plain")
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-5


def test_the_choice_reaches_trainer(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    from trainer.fit import training_arguments
    from trainer.job import FitRequest, plan_job
    from trainer.settings import load_settings

    for fused, name in (("auto", "adamw_torch"), ("off", "adamw_torch"), ("on", "adamw_torch_fused")):
        settings = load_settings("formosa", [f"training.fused={fused}"], "none")
        job = plan_job(FitRequest(model=str(tiny_base), data=dataset, output=tmp_path / "a", settings=settings))
        assert job is not None
        assert training_arguments(job, 4)[1].optim == name


def test_flash_attention_is_taken_where_it_is_and_named_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, flash = ModelSettings(), ModelSettings(attention="flash_attention_2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert attention_kind(chosen, torch.bfloat16, on_gpu=True) == "sdpa"
    with pytest.raises(MachineError, match="flash-attn is not installed"):
        attention_kind(flash, torch.bfloat16, on_gpu=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert attention_kind(chosen, torch.bfloat16, on_gpu=True) == "flash_attention_2"
    assert attention_kind(chosen, torch.float32, on_gpu=True) == "sdpa"
    assert attention_kind(chosen, torch.bfloat16, on_gpu=False) == "sdpa"
    assert attention_kind(ModelSettings(attention="eager"), torch.bfloat16, on_gpu=True) == "eager"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model__attention": "flash_attention_2"}, "needs a GPU"),
        ({"training__fused": "on", "training__optimizer": "adamw_8bit"}, "training.optimizer=adamw"),
    ],
)
def test_choices_that_cannot_be_are_refused(
    changes: dict[str, str], told: str, tiny_base: Path, dataset: Path, tmp_path: Path
) -> None:
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", "none", **changes)
    assert code == 2
    assert told in err
    assert list(tmp_path.iterdir()) == []
