"""The optimizer and its parameter groups: LoRA+ is a second learning rate, and some parameters are not decayed.

Made in Trainer's `create_optimizer`: an optimizer that is given to Trainer from outside is dropped under DeepSpeed
without a word, and LoRA+ with it.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from trainer.settings import Settings


def make_optimizer(model: torch.nn.Module, args: TrainingArguments, settings: Settings) -> torch.optim.Optimizer:
    """The settings' optimizer over everything in the model that is trained."""
    groups = parameter_groups(model, settings)
    if settings.training.optimizer == "cpu_adam":
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(groups, lr=args.learning_rate, adamw_mode=True)
    kind, options = Trainer.get_optimizer_cls_and_kwargs(args, model)
    if "8bit" in settings.training.optimizer:
        _keep_embeddings_exact(model)
    return kind(groups, **options)


def parameter_groups(model: torch.nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """Trained parameters by learning rate and weight decay, as PEFT's LoRA+ has them.

    Vectors (norms, biases, DoRA's lengths) are not decayed. With LoRA+ they and B learn faster; A and whole matrices
    do not.
    """
    training, ratio = settings.training, settings.lora.plus_ratio
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        # Under ZeRO-3 a parameter at rest is flat and empty; its own shape is kept beside it.
        is_vector = len(getattr(parameter, "ds_shape", parameter.shape)) == 1
        rate = training.learning_rate * (ratio if is_vector or ".lora_B." in name else 1)
        decay = 0.0 if is_vector else training.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]


def _keep_embeddings_exact(model: torch.nn.Module) -> None:
    """Rows that are seldom seen have tiny second moments: in 8 bits they become 0, and their steps infinite."""
    import bitsandbytes

    manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})
