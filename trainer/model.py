"""The base model, loaded, and what of it is trained: an adapter laid over it, its vocabulary's matrices, or all."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
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
        raise MachineError("this GPU has no bf16", hint="set model.precision to f16 or f32")
    if settings.precision == "f16":
        return torch.float16
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


def attention_kind(settings: ModelSettings, compute: torch.dtype, *, on_gpu: bool) -> str:
    """transformers' name for how attention is computed.

    Raises:
        MachineError: flash-attn is asked for and not installed.
    """
    has_flash = importlib.util.find_spec("flash_attn") is not None
    if settings.attention == "flash_attention_2" and not has_flash:
        raise MachineError("the package flash-attn is not installed", hint="install it, or set model.attention=sdpa")
    if settings.attention != "auto":
        return settings.attention
    return "flash_attention_2" if has_flash and on_gpu and compute.itemsize == 2 else "sdpa"


def load_model(job: Job, compute: torch.dtype, device: torch.device) -> PeftModel | PreTrainedModel:
    """The base with a fresh adapter or the adapter that is trained further; without one where weights of its own are
    trained (`training.method`).

    The seed is set right before the adapter is made: its A matrices are random.

    Raises:
        ConfigError: the base is no causal language model, or no layer bears a target's name.
    """
    base = _load_base(job, compute, device)
    model: PeftModel | PreTrainedModel
    if job.settings.training.method == "lora":
        # ZeRO-3 keeps all that is trained in one type, and has split the matrices of the base already.
        model = add_adapter(base, job.settings, in_type_of_base=job.zero_stage == 3)
        model.peft_config["default"].base_model_name_or_path = job.base_name
        if job.zero_stage == 3 and job.settings.lora.dora:
            _show_to_dora(model)
        if job.init_adapter:
            _load_adapter(model, job)
    else:
        model = free_weights(base, job.settings)
    if job.deepspeed is None:
        _train_in_f32(model)
    return model


def free_weights(base: PreTrainedModel, settings: Settings) -> PreTrainedModel:
    """A frozen base of which `training.method` trains weights of its own: all, or the vocabulary's matrices."""
    vocabulary = (base.get_input_embeddings(), base.get_output_embeddings())  # the same matrix twice where it is tied
    for module in (base,) if settings.training.method == "full" else vocabulary:
        module.requires_grad_(True)
    return base


def add_adapter(base: PreTrainedModel, settings: Settings, *, in_type_of_base: bool = False) -> PeftModel:
    """A fresh adapter over a base.

    Args:
        in_type_of_base: keep A and B in 16 bits where the base is and whole matrices are trained beside them.

    Raises:
        ConfigError: a target is no layer's name, or one that takes no adapter.
    """
    lora = settings.lora
    _check_targets(base, lora.targets)
    is_tied = bool(getattr(base.config, "tie_word_embeddings", False))
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha if lora.alpha % 1 else int(lora.alpha),
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        modules_to_save=list(lora.modules_to_save) or None,
        # Else PEFT trains two copies of what is one matrix in the base.
        ensure_weight_tying=is_tied and bool(lora.modules_to_save),
    )
    set_seed(settings.training.seed)
    try:
        model = get_peft_model(base, config, autocast_adapter_dtype=not (in_type_of_base and lora.modules_to_save))
    except ValueError as error:
        raise ConfigError(
            f"no adapter fits this base: {' '.join(str(error).split())}", hint="set lora.targets"
        ) from error
    assert isinstance(model, PeftModel)
    return model


def _check_targets(base: PreTrainedModel, targets: Sequence[str]) -> None:
    """PEFT is content when one of the targets names a layer."""
    names = [f".{name}" for name, _ in base.named_modules()]
    if missing := [target for target in targets if not any(name.endswith(f".{target}") for name in names)]:
        linear = {name.rpartition(".")[2] for name, module in base.named_modules() if hasattr(module, "in_features")}
        raise ConfigError(
            f"lora.targets names {missing[0]}, and no layer of this base is called so",
            hint=f"its linear layers are {', '.join(sorted(linear))}",
        )


def _show_to_dora(model: PeftModel) -> None:
    """Have ZeRO-3 gather what DoRA reads of other modules whenever DoRA runs. By itself it notices in a forward pass
    alone, and of what it had split alone: computing activations twice (gradient checkpointing) finds empty matrices."""
    import deepspeed

    for module in model.modules():
        if isinstance(module, LoraLayer):
            for name, magnitude in module.lora_magnitude_vector.items():
                for parameter in (*module.lora_A[name].parameters(), *module.get_base_layer().parameters()):
                    deepspeed.zero.register_external_parameter(magnitude, parameter)


def _train_in_f32(model: torch.nn.Module) -> None:
    """Small steps vanish in 16 bits. PEFT sees to A and B; whole matrices come in the base's type. (DeepSpeed keeps an
    f32 copy of all that is trained in its optimizer.)"""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _load_base(job: Job, compute: torch.dtype, device: torch.device) -> PreTrainedModel:
    attention = attention_kind(job.settings.model, compute, on_gpu=bool(job.gpus))
    options: dict[str, Any] = {"dtype": compute, "attn_implementation": attention, "local_files_only": True}
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
    if not job.gpus:
        _read_embedding(model)
    return freeze(model, job.settings)


def _read_embedding(model: PreTrainedModel) -> None:
    """Read it once: it is mapped from its file, and its rows would come as texts name them, each with as much around it
    as the kernel likes, so that nobody could say beforehand what a run holds. Long runs name most of them."""
    model.get_input_embeddings().weight.sum()


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
    with _gathered([p for p in model.parameters() if p.requires_grad]):
        set_peft_model_state_dict(model, weights)


def _gathered(parameters: list[torch.nn.Parameter]) -> AbstractContextManager[None]:
    """Parameters whole, to be written; ZeRO-3 splits matrices of the base, and copies of them, as it loads."""
    split = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not split:
        return nullcontext()
    import deepspeed

    gathered: AbstractContextManager[None] = deepspeed.zero.GatheredParameters(split, modifier_rank=0)
    return gathered


def trainable_parameters(model: torch.nn.Module) -> int:
    """Numbers that are trained; right under ZeRO-3 too, where parameters are scattered."""
    return sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters() if p.requires_grad)
