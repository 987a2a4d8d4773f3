"""The child process in which a stranger's file, or a grammar, meets llama.cpp first: see `runtime.llama_trial`.

    python -P -m runtime.llama_child compute MODEL [ADAPTER ...]   the weights are mapped and two tokens evaluated
    python -P -m runtime.llama_child shapes MODEL [ADAPTER ...]    no weights are read; a context is built all the same
    python -P -m runtime.llama_child grammar                       the text on standard input is parsed

Wrong bytes can end the process inside llama.cpp; here that harms nobody.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from configs.errors import ToolError

_MEMORY_BYTES = 16 << 30
_CPU_SECONDS = 60
"""Both besides what the size of the files asks for."""
_CONTEXT, _BATCH, _SEQUENCES = 256, 64, 4
_PIECES = 4096
_TEXT = "The quick 敏捷的棕色狐狸，跳過了 <s> </s> 12,345 𠀀🦊\t\n\u0e01\u0f00\u200d\ufffd" + "".join(
    map(chr, range(1, 256))
)


def main(arguments: list[str]) -> NoReturn:
    """Try what the arguments name; the last line on standard output is JSON with what llama.cpp said against it."""
    what, *paths = arguments
    _limit(sum(Path(path).stat().st_size for path in paths))
    reason = _try_model(*paths, compute=what == "compute") if paths else _try_grammar(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps({"refused": reason}))
    sys.stdout.flush()
    os._exit(0)  # nothing is left to tidy, and tidying what a damaged file left could still crash


def _limit(size_bytes: int) -> None:
    """No core dumps, and bounds for what a damaged count could ask for."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, _CPU_SECONDS + 20 * (size_bytes >> 30)),
        (resource.RLIMIT_AS, _MEMORY_BYTES + 2 * size_bytes),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))


def _try_model(path: str, *adapters: str, compute: bool) -> str | None:
    """What llama.cpp has against the model or one of its adapters; None for nothing."""
    from runtime.llama_library import api, last_error
    from runtime.llama_model import load_adapter, plug_into
    from runtime.llama_vocabulary import Vocabulary

    parameters = api.llama_model_default_params()
    parameters.no_alloc = not compute
    parameters.load_mode = api.LLAMA_LOAD_MODE_MMAP if compute else api.LLAMA_LOAD_MODE_NONE
    parameters.use_extra_bufts = False  # no second copy of the weights in another layout
    parameters.n_gpu_layers = 0
    no_devices = (ctypes.c_void_p * 1)()  # an empty list, kept alive until the load is over: no GPU is touched
    parameters.devices = ctypes.cast(no_devices, ctypes.c_void_p)
    model = api.llama_model_load_from_file(path.encode(), parameters)
    if not model:
        return last_error()
    vocabulary = Vocabulary(api.llama_model_get_vocab(model))
    _try_vocabulary(vocabulary)
    context = _context(api, model)
    if not context:
        return last_error()
    try:
        plug_into(context, [(load_adapter(model, adapter), 1.0) for adapter in adapters])
    except ToolError as error:
        return str(error)
    return _evaluate(api, context, vocabulary.size) if compute else None


def _evaluate(api: Any, context: object, vocabulary: int) -> str | None:
    tokens = (api.llama_token * 2)(0, vocabulary - 1)
    code = api.llama_decode(context, api.llama_batch_get_one(tokens, len(tokens)))
    return f"it cannot be evaluated (code {code})" if code else None


def _try_vocabulary(vocabulary: Any) -> None:
    vocabulary.plain(_TEXT)
    step = max(1, vocabulary.size // _PIECES)
    for token in range(0, vocabulary.size, step):
        vocabulary.piece(token)
        vocabulary.ends_reply(token)


def _context(api: Any, model: object) -> object:
    from runtime.llama_library import physical_cores

    parameters = api.llama_context_default_params()
    parameters.n_ctx = _CONTEXT
    parameters.n_batch = parameters.n_ubatch = _BATCH
    parameters.n_seq_max = _SEQUENCES
    parameters.kv_unified = True
    parameters.n_threads = parameters.n_threads_batch = physical_cores()
    return api.llama_init_from_model(model, parameters)


def _try_grammar(text: bytes) -> str | None:
    from runtime.llama_library import api

    return None if api.llama_sampler_init_grammar(None, text, b"root") else "it cannot be parsed"


if __name__ == "__main__":
    main(sys.argv[1:])
