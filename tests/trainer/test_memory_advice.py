"""What to change when memory runs out is nothing that was changed already."""

from __future__ import annotations

import errno

import pytest

from trainer.fit import _is_out_of_memory
from trainer.memory_advice import memory_advice
from trainer.settings import load_settings


@pytest.mark.parametrize(
    ("overrides", "on_gpu", "first", "absent"),
    [
        (("training.batch_size=4", "training.accumulation=2"), True, "training.accumulation=8", "smaller base"),
        (("training.batch_size=1", "training.gradient_checkpointing=false"), True, "gradient_checkpointing=true", "16"),
        (("training.batch_size=1",), True, "model.load_in=4", "gradient_checkpointing"),
        (("training.batch_size=1", "model.load_in=4"), True, "--deepspeed zero3-offload", "model.load_in"),
        (("training.batch_size=1", "model.load_in=4"), False, "model.precision=bf16", "zero3-offload"),
        (("training.batch_size=1", "training.method=full"), True, "--deepspeed zero3-offload", "model.load_in"),
    ],
)
def test_the_first_advice_is_the_cheapest_that_is_left(
    overrides: tuple[str, ...], on_gpu: bool, first: str, absent: str
) -> None:
    settings = load_settings("formosa", overrides)
    advice = memory_advice(settings, settings.deepspeed, on_gpu=on_gpu)
    assert first in advice.split(", or ")[0]
    assert absent not in advice


def test_at_the_end_of_all_settings_is_a_smaller_base() -> None:
    words = "training.batch_size=1", "model.load_in=4", "training.max_length=256", "model.precision=bf16"
    settings = load_settings("formosa", words, deepspeed="zero3-offload")
    assert memory_advice(settings, settings.deepspeed, on_gpu=True) == "try a smaller base model"


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (RuntimeError("unable to mmap 146912 bytes from file <a>: Cannot allocate memory (12)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (MemoryError(), True),
        (OSError(errno.ENOENT, "No such file"), False),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_memory_that_ran_out_is_known_by_its_errors(error: Exception, is_memory: bool) -> None:
    assert _is_out_of_memory(error) == is_memory
