"""The GPUs that llama.cpp sees, and what a model would take of them, measured without loading its weights."""

from __future__ import annotations

import ctypes

from runtime.gpu_fit import Device, compute_buffer
from runtime.llama_library import api, captured_log, ggml
from runtime.models import ModelPlan

_GPU_KINDS = (1, 2)  # enum ggml_backend_dev_type: GPU, IGPU
_CELLS = 4096
PACK = 512
"""Tokens that a GPU should get at once: a question alone, some 200, leaves much of it idle. No batch is larger."""


def gpus() -> list[Device]:
    """Every GPU and the memory that is free on it."""
    found = []
    for index in range(ggml("ggml_backend_dev_count", ctypes.c_size_t)()):
        device = ggml("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)(index)
        if ggml("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)(device) in _GPU_KINDS:
            found.append(Device(_name(device), _free_bytes(device)))
    return found


def cells(plan: ModelPlan) -> int:
    """Tokens of the cache that the engine will make, unless more are reserved."""
    return min(plan.options.ctx_size or _CELLS, plan.header.number("context_length") or _CELLS)


def compute_bytes(plan: ModelPlan) -> int:
    """Size of the compute buffer on a GPU with every layer there; 0 if the model cannot be measured."""
    parameters = api.llama_model_default_params()
    parameters.no_alloc = True
    parameters.load_mode = api.LLAMA_LOAD_MODE_NONE
    parameters.n_gpu_layers = -1
    model = api.llama_model_load_from_file(str(plan.options.model).encode("utf-8"), parameters)
    if not model:
        return 0
    with captured_log() as lines:
        context = _context(model, plan)
    if context:
        api.llama_free(context)
    api.llama_model_free(model)
    return compute_buffer(lines)


def has_room(model: object, plan: ModelPlan) -> bool:
    """Whether a context on a loaded model can be made; it is given back at once."""
    context = _context(model, plan)
    if context:
        api.llama_free(context)
    return bool(context)


def _context(model: object, plan: ModelPlan) -> object:
    parameters = api.llama_context_default_params()
    parameters.n_ctx = cells(plan)
    parameters.n_batch = parameters.n_ubatch = PACK
    parameters.n_outputs_max = 32
    return api.llama_init_from_model(model, parameters)


def _name(device: int) -> str:
    text: bytes = ggml("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)(device) or b"unnamed"
    return text.decode("utf-8", "replace")


def _free_bytes(device: int) -> int:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    ask = ggml("ggml_backend_dev_memory", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    ask(device, ctypes.addressof(free), ctypes.addressof(total))
    return free.value
