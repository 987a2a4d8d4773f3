"""llama.cpp itself, in a process of its own: what it tokenizes, and the logits it computes.

It is a judge here, not a part of an export, and it aborts the process on many a damaged file. The request goes in as
JSON, the answer comes out as JSON; logits, which are large, come as float32 in a file.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ToolError

if TYPE_CHECKING:
    from torch import Tensor


def has_llama_cpp() -> bool:
    """Whether llama-cpp-python is installed."""
    return importlib.util.find_spec("llama_cpp") is not None


def tokenize(path: Path, texts: Sequence[str]) -> list[list[int]]:
    """What llama.cpp makes of each text: ids without special tokens and without BOS; no weights are loaded.

    Raises:
        ToolError: llama.cpp does not open the file.
    """
    answer: list[list[int]] = _ask(path, {"texts": list(texts)})
    return answer


def logits(path: Path, ids: Sequence[int]) -> Tensor:
    """Logits [tokens, vocabulary] after each token, float32: f32 KV cache, no flash attention, no GPU.

    Raises:
        ToolError: llama.cpp does not open the file, or cannot decode.
    """
    import torch

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "logits")
        _ask(path, {"ids": list(ids), "target": str(target)})
        return torch.frombuffer(bytearray(target.read_bytes()), dtype=torch.float32).view(len(ids), -1)


def _ask(path: Path, request: dict[str, Any]) -> Any:
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps({"path": str(path), **request}), capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
        raise ToolError(f"llama.cpp cannot do it with {path}: {reason}")
    return json.loads(done.stdout)


def _main() -> None:
    request = json.load(sys.stdin)
    answer_to = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints is no part of the answer
    import llama_cpp

    silence = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    llama_cpp.llama_log_set(silence, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    model = _load(llama_cpp, request["path"], vocab_only="texts" in request)
    if "texts" in request:
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        answer: object = [_tokenize(llama_cpp, vocabulary, text) for text in request["texts"]]
    else:
        answer = _write_logits(llama_cpp, model, request["ids"], request["target"])
    with os.fdopen(answer_to, "w", encoding="utf-8") as out:
        json.dump(answer, out)


def _load(llama_cpp: Any, path: str, *, vocab_only: bool) -> Any:
    settings = llama_cpp.llama_model_default_params()
    settings.n_gpu_layers, settings.vocab_only = 0, vocab_only
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), settings)
    if not model:
        raise SystemExit("it does not open the file")
    return model


def _tokenize(llama_cpp: Any, vocabulary: Any, text: str) -> list[int]:
    data = text.encode()
    room = (llama_cpp.llama_token * (len(data) + 8))()
    count = llama_cpp.llama_tokenize(vocabulary, data, len(data), room, len(room), False, False)
    if count < 0:
        raise SystemExit(f"it makes {-count} tokens of {len(data)} bytes")
    return list(room[:count])


def _write_logits(llama_cpp: Any, model: Any, ids: Sequence[int], target: str) -> int:
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = max(len(ids), 32)
    settings.n_threads = settings.n_threads_batch = os.cpu_count() or 1
    settings.type_k = settings.type_v = 0  # the usual f16 cache alone costs 1e-3 in the logits
    settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # its kernel rounds the query to f16
    context = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        raise SystemExit("no context can be made")
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for position, number in enumerate(ids):
        batch.token[position], batch.pos[position] = number, position
        batch.n_seq_id[position], batch.seq_id[position][0], batch.logits[position] = 1, 0, 1
    if llama_cpp.llama_decode(context, batch):
        raise SystemExit("decoding failed")
    size = 4 * llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    with Path(target).open("wb") as file:
        for position in range(len(ids)):
            file.write(ctypes.string_at(llama_cpp.llama_get_logits_ith(context, position), size))
    return len(ids)


if __name__ == "__main__":
    _main()
