"""The base model, loaded and frozen, and the LoRA adapter laid over it."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel, set_seed

from configs.errors import ConfigError, MachineError
from trainer.adapter import WEIGHTS_FILE, expected_shapes
from trainer.job import Job
from trainer.settings import ModelSettings, Settings


def compute_type(settings: ModelSettings, *, on_gpu: bool) -> torch.dtype:
    """Number type to compute in.

    Raises:
        MachineError: bf16 is asked for on a GPU that lacks it.
    """
    has_bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if settings.precision == "bf16" and on_gpu and not has_bf16:
        raise MachineError("this GPU has no bf16", hint="set model.precision to f32")
    wants_bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_bf16)
    return torch.bfloat16 if wants_bf16 else torch.float32


def quantization(settings: ModelSettings, compute: torch.dtype) -> dict[str, Any] | None:
    """bitsandbytes' options for `load_in` 4 or 8, as they are recorded in training.json; None unquantized."""
    if settings.load_in == 16:
        return None
    if settings.load_in == 8:
        return {"load_in_8bit": True}
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": str(compute).removeprefix("torch."),
    }


def load_model(job: Job, compute: torch.dtype, device: torch.device) -> PeftModel:
    """The base with a fresh adapter, or with the weights of the adapter that is trained further.

    The seed is set right before the adapter is made: its A matrices are random.

    Raises:
        ConfigError: the base is no causal language model, or no layer bears a target's name.
    """
    model = add_adapter(_load_base(job, compute, device), job.settings)
    model.peft_config["default"].base_model_name_or_path = job.base_name
    if job.init_adapter:
        _load_adapter(model, job)
    return model


def add_adapter(base: PreTrainedModel, settings: Settings) -> PeftModel:
    """A fresh adapter over a base.

    Raises:
        ConfigError: no layer bears a target's name.
    """
    lora = settings.lora
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha if lora.alpha % 1 else int(lora.alpha),
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
    )
    set_seed(settings.training.seed)
    try:
        model = get_peft_model(base, config)
    except ValueError as error:
        raise ConfigError(
            f"no adapter fits this base: {' '.join(str(error).split())}", hint="set lora.targets"
        ) from error
    assert isinstance(model, PeftModel)
    return model


def _load_base(job: Job, compute: torch.dtype, device: torch.device) -> PreTrainedModel:
    options: dict[str, Any] = {"dtype": compute, "attn_implementation": "sdpa", "local_files_only": True}
    quantized = quantization(job.settings.model, compute)
    if quantized:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(**quantized)
        if job.zero_stage != 3:
            options["device_map"] = {"": device}
    try:
        model = AutoModelForCausalLM.from_pretrained(job.base, **options)
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{job.base} cannot be loaded: {' '.join(str(error).split())}") from error
    _keep_weights_trainable_after_evaluation(model)
    return freeze(model, job.settings)


def freeze(model: PreTrainedModel, settings: Settings) -> PreTrainedModel:
    """The base ready to get an adapter: nothing of it is trained, and activations are kept or computed twice."""
    model.config.use_cache = False
    model.requires_grad_(False)
    if settings.training.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model


def _keep_weights_trainable_after_evaluation(model: PreTrainedModel) -> None:
    """bitsandbytes repacks 4-bit weights for inference at the first evaluation on CPUs with AVX512-BF16; no gradient
    flows through them from then on, without a word."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _load_adapter(model: PeftModel, job: Job) -> None:
    assert job.init_adapter is not None
    weights = load_file(job.init_adapter / WEIGHTS_FILE)
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = expected_shapes(model)
    if found != expected:
        first = min(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise ConfigError(
            f"the adapter {job.init_adapter} is not one for {job.base_name}: "
            f"{first} is {found.get(first)}, should be {expected.get(first)}"
        )
    set_peft_model_state_dict(model, weights)


def trainable_parameters(model: PeftModel) -> int:
    """Numbers that are trained; right under ZeRO-3 too, where parameters are scattered."""
    return sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters() if p.requires_grad)
