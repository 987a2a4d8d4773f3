"""What cannot work together, said before anything is loaded: the reason, and the nearest setting that works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from configs.errors import ConfigError
from trainer.settings import Settings

Refusal = tuple[str, str]
"""(what cannot be and why, what to set instead)"""


def check_combination(
    settings: Settings, deepspeed: dict[str, Any] | None, *, on_gpu: bool, is_tied: bool, continues_adapter: bool
) -> None:
    """Refuse settings that exclude each other.

    Args:
        settings: of the run.
        deepspeed: the DeepSpeed configuration; None for plain torch.
        on_gpu: whether the processes have GPUs.
        is_tied: whether the base's input and output matrix are one.
        continues_adapter: whether an adapter is trained further.

    Raises:
        ConfigError: the first pair that cannot be, why, and what to set instead.
    """
    zero = (deepspeed or {}).get("zero_optimization") or {}
    for what, remedy in (
        *_precision(settings, deepspeed, on_gpu=on_gpu),
        *_quantized_dora(settings, zero.get("stage", 0), on_gpu=on_gpu),
        *_method(settings, continues_adapter=continues_adapter),
        *_vocabulary(settings, is_tied=is_tied),
        *_optimizer(settings, offloads="offload_optimizer" in zero),
        *_attention(settings, on_gpu=on_gpu),
    ):
        raise ConfigError(what, hint=remedy)


def _precision(settings: Settings, deepspeed: dict[str, Any] | None, *, on_gpu: bool) -> Iterator[Refusal]:
    if settings.model.precision == "f16" and not on_gpu:
        yield (
            "model.precision = f16 needs a GPU: torch on a CPU would compute in f32 without a word",
            "--set model.precision=bf16, or f32",
        )
    precision = settings.model.precision
    is_16_bit = precision in ("bf16", "f16") or (precision == "auto" and on_gpu)
    if is_16_bit and deepspeed is not None and not deepspeed["zero_optimization"].get("stage"):
        yield (
            "ZeRO stage 0 in 16 bits keeps no f32 copy of what is trained, and small steps vanish",
            "--deepspeed zero1 or none, or --set model.precision=f32",
        )


def _quantized_dora(settings: Settings, stage: int, *, on_gpu: bool) -> Iterator[Refusal]:
    """DoRA measures the base's weights, and has to read them for it."""
    if not settings.lora.dora or settings.model.load_in == 16:
        return
    if settings.model.load_in == 8 and not on_gpu:
        yield (
            "lora.dora reads the base's weights, which bitsandbytes on a CPU does not unpack from 8 bits",
            "--set model.load_in=4, or 16",
        )
    if stage == 3:
        yield (
            f"lora.dora reads the base's weights, which ZeRO-3 has split and load_in = {settings.model.load_in} packed",
            "--deepspeed zero2, or --set model.load_in=16",
        )


def _method(settings: Settings, *, continues_adapter: bool) -> Iterator[Refusal]:
    method, lora = settings.training.method, settings.lora
    if method == "lora":
        return
    why = f"training.method = {method} trains no adapter"
    if continues_adapter:
        yield (
            f"{why}, so that --init-adapter has no meaning",
            "merge the adapter into the base first (exporter merge --format huggingface), or set training.method=lora",
        )
    for name, is_set in (
        ("rslora", lora.rslora), ("dora", lora.dora), ("plus_ratio", lora.plus_ratio > 1),
        ("modules_to_save", lora.modules_to_save),
    ):  # fmt: skip
        if is_set:
            yield f"{why}, so that lora.{name} has no meaning", "leave it out, or set training.method=lora"
    if settings.model.load_in != 16:
        yield (
            f"training.method = {method} writes a model, and those weights of a base in {settings.model.load_in} bits "
            "are neither trained nor written",
            "--set model.load_in=16, or training.method=lora",
        )


def _vocabulary(settings: Settings, *, is_tied: bool) -> Iterator[Refusal]:
    if "embed_tokens" in settings.lora.targets:
        yield (
            "lora.targets names embed_tokens, which is no linear layer",
            "--set lora.modules_to_save=embed_tokens; it trains the whole matrix",
        )
    if both := sorted(set(settings.lora.targets) & set(settings.lora.modules_to_save)):
        yield f"{both[0]} is in lora.targets and in lora.modules_to_save", "name it in one of them"
    if is_tied and "lm_head" in settings.lora.modules_to_save:
        yield (
            "lora.modules_to_save names lm_head, which in this base is the same matrix as embed_tokens",
            "--set lora.modules_to_save=embed_tokens; it trains both",
        )


def _optimizer(settings: Settings, *, offloads: bool) -> Iterator[Refusal]:
    name = settings.training.optimizer
    if name == "cpu_adam" and not offloads:
        yield (
            "training.optimizer = cpu_adam works on an optimizer that is kept on the CPU, and this run keeps it on the "
            "device",
            "--deepspeed zero2-offload, or training.optimizer=adamw",
        )
    if offloads and name not in ("adamw", "cpu_adam"):
        yield (
            f"training.optimizer = {name} saves a card's memory, and this run keeps the optimizer on the CPU already",
            "--set training.optimizer=adamw, or --deepspeed zero2",
        )
    if settings.training.fused != "auto" and name != "adamw":
        yield (
            f"training.fused is about torch's AdamW, and training.optimizer = {name} is another one",
            "leave training.fused out, or --set training.optimizer=adamw",
        )


def _attention(settings: Settings, *, on_gpu: bool) -> Iterator[Refusal]:
    if settings.model.attention != "flash_attention_2":
        return
    if not on_gpu:
        yield "model.attention = flash_attention_2 needs a GPU", "--set model.attention=sdpa"
    if settings.model.precision == "f32":
        yield (
            "model.attention = flash_attention_2 computes in 16 bits, and model.precision is f32",
            "--set model.attention=sdpa, or model.precision=bf16",
        )
