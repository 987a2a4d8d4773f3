"""What to change when memory runs out: the changes that help most and cost least, of those not made yet."""

from __future__ import annotations

from trainer.settings import Settings

_NAMED = 3


def memory_advice(settings: Settings, deepspeed: str, *, on_gpu: bool) -> str:
    """Settings that need less memory, the cheapest first.

    Args:
        settings: of the run that failed.
        deepspeed: name of its DeepSpeed configuration.
        on_gpu: whether it was the memory of a card that ran out.
    """
    training = settings.training
    rows = training.batch_size * training.accumulation
    possible = [
        (training.batch_size > 1, f"training.batch_size=1 with training.accumulation={rows}"),
        (not training.gradient_checkpointing, "training.gradient_checkpointing=true"),
        (settings.model.load_in > 4 and training.method == "lora" and not settings.lora.dora, "model.load_in=4"),
        (on_gpu and "offload" not in deepspeed, "--deepspeed zero3-offload"),
        (bool(settings.lora.modules_to_save), "lora.modules_to_save=[]"),
        (training.method == "full", "training.method=lora"),
        (not on_gpu and settings.model.precision != "bf16", "model.precision=bf16"),
        (training.max_length > 512, f"training.max_length={training.max_length // 2}"),
        (True, "a smaller base model"),
    ]
    return "try " + ", or ".join([words for helps, words in possible if helps][:_NAMED])
