"""The adapter's weights: gathered from wherever they live, and never taken for good unless they are.

Under ZeRO-3 a parameter at rest has no elements, and PEFT writes it so with a warning; under ZeRO-1/2 with bf16 the
parameters are rounded copies of f32 masters. So the weights are gathered from the masters, and what was written is
opened again.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import ModulesToSaveWrapper
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from configs.errors import ToolError

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"

Shapes = dict[str, tuple[int, ...]]


def gather_weights(model: PeftModel | PreTrainedModel, *, deepspeed: bool) -> dict[str, torch.Tensor]:
    """All trained parameters in f32 on the CPU, by the names that PEFT writes, or that the base has where there is no
    adapter. Every rank must call this."""
    weights = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            full = _full_parameter(parameter) if deepspeed else parameter
            weights[name] = full.detach().float().cpu().clone().contiguous()
    if not isinstance(model, PeftModel):
        return weights
    # PEFT asks for a tied matrix by both its names.
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad and name not in weights:
            weights[name] = weights[names[id(parameter)]].clone()
    named: dict[str, torch.Tensor] = get_peft_model_state_dict(model, state_dict=weights, save_embedding_layers=False)
    return named


def _full_parameter(parameter: torch.nn.Parameter) -> torch.Tensor:
    from deepspeed.utils import safe_get_full_fp32_param

    full = safe_get_full_fp32_param(parameter)
    return parameter if full is None else full


def load_weights(model: PeftModel | PreTrainedModel, path: Path) -> None:
    """Put a file of `gather_weights` back in its place."""
    weights = load_file(path)
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, weights)
    else:
        model.load_state_dict(weights, strict=False)


def expected_shapes(model: PeftModel | PreTrainedModel) -> Shapes:
    """Names and shapes of what is trained, from the sizes that layers declare: under ZeRO-3 a parameter has none."""
    if not isinstance(model, PeftModel):
        return {
            name: tuple(getattr(parameter, "ds_shape", parameter.shape))
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
    shapes: Shapes = {}
    for name, module in model.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            shapes[f"{name}.weight"] = _declared_shape(module.original_module)
        elif hasattr(module, "lora_A") and "default" in module.lora_A:
            rank = module.r["default"]
            shapes[f"{name}.lora_A.weight"] = (rank, module.in_features)
            shapes[f"{name}.lora_B.weight"] = (module.out_features, rank)
            if model.peft_config["default"].use_dora:
                shapes[f"{name}.lora_magnitude_vector"] = (module.out_features,)
    return shapes


def _declared_shape(module: torch.nn.Module) -> tuple[int, int]:
    if isinstance(module, torch.nn.Embedding):
        return module.num_embeddings, module.embedding_dim
    return module.out_features, module.in_features


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file with the rights that the umask gives (safetensors itself writes 0600)."""
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_weights(path: Path, shapes: Shapes) -> None:
    """Open a written adapter again and refuse one that is empty, torn, not finite or untrained.

    Raises:
        ToolError: what is wrong with it.
    """
    weights = check_whole(path, shapes)
    matrices = [tensor for name, tensor in weights.items() if name.endswith("lora_B.weight")]
    if matrices and not any(tensor.any() for tensor in matrices):
        raise ToolError("the adapter is untrained: every lora_B is zero")


def check_whole(path: Path, shapes: Shapes) -> dict[str, torch.Tensor]:
    """Open written weights again, trained or not yet.

    Raises:
        ToolError: they are empty, torn or not finite.
    """
    try:
        weights: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ToolError(f"the adapter was not written whole: {error}") from error
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if not shapes or found != shapes:
        differing = sorted(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name))
        first = differing[0] if differing else "no layer has an adapter"
        raise ToolError(f"the adapter is not whole: {first} is {found.get(first)}, should be {shapes.get(first)}")
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ToolError(f"the adapter is not finite: {name}", hint="lower training.learning_rate")
    return weights
