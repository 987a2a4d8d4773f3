"""Independent judges: PEFT's merge, llama-quantize, llama.cpp's and transformers' logits, SentencePiece."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np


def quiet_llama_cpp() -> Any:
    """llama_cpp without its own log, which fails on the bytes of a vocabulary that it prints.

    There is one log callback in a process: runtime's, where it is loaded already, is quiet and stays.
    """
    import llama_cpp

    if "runtime.llama_library" not in sys.modules:
        llama_cpp.llama_log_set(_SILENCE, ctypes.c_void_p(0))
    return llama_cpp


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _SILENCE(_level: int, _text: bytes, _data: object) -> None:
    pass


def peft_merge(base: Path, *adapters: Path) -> dict[str, Any]:
    """The state dict of PEFT's own merge_and_unload, in the base's type."""
    return peft_merged_model(base, *adapters).state_dict()


def peft_merged_model(base: Path, *adapters: Path) -> Any:
    import peft
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    for adapter in adapters:
        model = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return model.eval()


def transformers_logits(model: Any, ids: list[int]) -> np.ndarray:
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def llama_quantize(source: Path, target: Path, file_type: int) -> None:
    """llama-quantize itself, of the installed llama-cpp-python."""
    llama_cpp = quiet_llama_cpp()
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype, settings.nthread = file_type, 1
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(settings)) == 0


def gguf_tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    """Type and bytes of every tensor."""
    import gguf

    return {tensor.name: (tensor.tensor_type.name, tensor.data.tobytes()) for tensor in gguf.GGUFReader(path).tensors}


def gguf_keys(path: Path) -> dict[str, Any]:
    import gguf

    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


class LlamaCpp:
    """A GGUF in llama.cpp, with an f32 key-value cache: the default f16 cache alone costs 1e-3 in the logits."""

    def __init__(self, path: Path, adapter: Path | None = None) -> None:
        llama_cpp = self.api = quiet_llama_cpp()
        llama_cpp.llama_backend_init()
        settings = llama_cpp.llama_model_default_params()
        settings.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), settings)
        assert self.model, f"llama.cpp does not open {path}"
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = 256
        context.n_threads = context.n_threads_batch = 1
        context.type_k = context.type_v = 0
        context.flash_attn_type = 0  # its CPU kernel rounds the query to f16
        self.context = llama_cpp.llama_init_from_model(self.model, context)
        assert self.context
        if adapter is not None:
            self._plug_in(adapter)

    def _plug_in(self, adapter: Path) -> None:
        lora = self.api.llama_adapter_lora_init(self.model, str(adapter).encode())
        assert lora, f"llama.cpp does not open {adapter}"
        loras = (self.api.llama_adapter_lora_p_ctypes * 1)(lora)
        assert self.api.llama_set_adapters_lora(self.context, loras, 1, (ctypes.c_float * 1)(1.0)) == 0

    def logits(self, ids: list[int]) -> np.ndarray:
        batch = self.api.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for position, number in enumerate(ids):
            batch.token[position], batch.pos[position] = number, position
            batch.n_seq_id[position], batch.seq_id[position][0], batch.logits[position] = 1, 0, 1
        assert self.api.llama_decode(self.context, batch) == 0
        size = self.api.llama_vocab_n_tokens(self.vocab)
        found = np.stack(
            [
                np.ctypeslib.as_array(self.api.llama_get_logits_ith(self.context, i), (size,)).copy()
                for i in range(len(ids))
            ]
        )
        self.api.llama_batch_free(batch)
        return found

    def tokenize(self, text: str) -> list[int]:
        """Ids without special tokens and without BOS."""
        data = text.encode()
        room = (self.api.llama_token * (len(data) + 8))()
        count = self.api.llama_tokenize(self.vocab, data, len(data), room, len(room), False, False)
        assert count >= 0
        return list(room[:count])

    def close(self) -> None:
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)
