"""A GGUF model in memory, its adapters and its vocabulary."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

from configs.errors import ToolError
from runtime.gguf_header import GgufHeader
from runtime.llama_library import api, last_error
from runtime.llama_loading import load_weights, path_bytes
from runtime.llama_vocabulary import Vocabulary
from runtime.models import ModelPlan

MAX_SEQUENCES = 256
"""LLAMA_MAX_SEQ: a higher sequence number ends the process."""


class LlamaModel:
    """Owns the weights. Free it only after every context on it.

    Raises:
        ToolError: llama.cpp refuses the file, or `on_progress` returned False.
        MachineError: GPU layers were asked of a build without a GPU.
    """

    def __init__(self, plan: ModelPlan, on_progress: Callable[[float], bool] | None = None) -> None:
        self.plan = plan
        self.handle, self.gpu_layers, self.notes = load_weights(plan, on_progress)
        self.vocabulary = Vocabulary(api.llama_model_get_vocab(self.handle))
        self.context_limit = int(api.llama_model_n_ctx_train(self.handle))
        self.adapters: list[tuple[object, float]] = []
        try:
            self.plug_in(plan.adapters)
        except ToolError:
            self.free()
            raise

    def free(self) -> None:
        """Give the memory back; adapters go with the model."""
        if self.handle:
            self.vocabulary.close()
            api.llama_model_free(self.handle)
            self.handle = None

    def plug_in(self, adapters: Sequence[tuple[GgufHeader, float]]) -> None:
        """Load exactly these adapters; contexts made from now on use them. Free those made before first.

        Raises:
            ToolError: llama.cpp refuses one; the old ones stay.
        """
        loaded: list[tuple[object, float]] = []
        try:
            for header, weight in adapters:
                loaded.append((load_adapter(self.handle, header.path), weight))
        except ToolError:
            _free_adapters(loaded)
            raise
        _free_adapters(self.adapters)
        self.adapters = loaded

    def new_context(
        self, *, cells: int, batch: int, sequences: int, outputs: int, threads: int, abort: object
    ) -> object:
        """A llama_context with a cache of `cells` tokens, the adapters plugged in.

        Args:
            batch: most tokens of one llama_decode.
            outputs: most positions of one batch whose logits are wanted; few keep the compute buffer small.
            abort: a ggml_abort_callback; the caller keeps it alive.

        Raises:
            ToolError: llama.cpp cannot make it; most often the memory does not suffice.
        """
        if not 0 < sequences <= MAX_SEQUENCES:
            raise ToolError(f"{sequences} sequences at once are too many", hint=f"at most {MAX_SEQUENCES}")
        parameters = api.llama_context_default_params()
        parameters.n_ctx = cells
        parameters.n_batch = parameters.n_ubatch = min(batch, cells)
        parameters.n_seq_max = sequences
        parameters.kv_unified = True
        parameters.n_outputs_max = max(min(outputs, batch), sequences)  # fewer end the process
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_AUTO
        if self.plan.header.is_f32:
            # Nobody keeps f32 weights but to have exact numbers: flash attention and an f16 cache would round them.
            parameters.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
            parameters.type_k = parameters.type_v = api.GGML_TYPE_F32
        parameters.abort_callback = abort
        last_error()
        handle = api.llama_init_from_model(self.handle, parameters)
        if not handle:
            raise ToolError(
                f"llama.cpp cannot make a context of {cells} tokens: {last_error()}",
                hint="a smaller --ctx-size or fewer --gpu-layers take less memory",
            )
        try:
            plug_into(handle, self.adapters)
        except ToolError:
            api.llama_free(handle)
            raise
        return handle


def load_adapter(model: object, path: Path | str) -> object:
    """Load a LoRA file for a model.

    Raises:
        ToolError: llama.cpp refuses it.
    """
    last_error()
    adapter = api.llama_adapter_lora_init(model, path_bytes(path))
    if not adapter:
        raise ToolError(f"llama.cpp cannot plug in {path}: {last_error()}")
    return adapter


def plug_into(context: object, adapters: Sequence[tuple[object, float]]) -> None:
    """Have a context use these loaded adapters with these weights.

    Raises:
        ToolError: llama.cpp refuses.
    """
    if not adapters:
        return
    handles = (api.llama_adapter_lora_p_ctypes * len(adapters))(*(handle for handle, _ in adapters))
    weights = (ctypes.c_float * len(adapters))(*(weight for _, weight in adapters))
    if api.llama_set_adapters_lora(context, handles, len(adapters), weights):
        raise ToolError(f"llama.cpp cannot plug in the adapters: {last_error()}")


def _free_adapters(adapters: Sequence[tuple[object, float]]) -> None:
    for handle, _ in adapters:
        api.llama_adapter_lora_free(handle)
