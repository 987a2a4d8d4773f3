"""A GGUF model in memory, its adapters and its vocabulary."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

from configs.errors import ConfigError, MachineError, ToolError
from runtime.gguf_header import GgufHeader
from runtime.llama_library import api, last_error
from runtime.models import ModelPlan

ALL_LAYERS = -1
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
        self.notes: list[str] = []
        self.handle = self._load_stepping_down(on_progress)
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

    def _load_stepping_down(self, on_progress: Callable[[float], bool] | None) -> object:
        """Load with the GPU layers asked for; `auto` tries all, then fewer, then none."""
        wanted = self.plan.options.gpu_layers
        has_gpu = bool(api.llama_supports_gpu_offload())
        if wanted != "auto":
            if wanted and not has_gpu:
                raise MachineError(
                    "this llama.cpp was built without GPU support",
                    hint="leave --gpu-layers out, or reinstall with `make install ACCEL=cuda`",
                )
            return self._load(int(wanted), on_progress)
        layers = self.plan.header.block_count
        steps = [ALL_LAYERS, layers * 3 // 4, layers // 2, layers // 4, 0] if has_gpu else [0]
        for step in steps:
            try:
                handle = self._load(step, on_progress)
            except _LoadError:
                if step == steps[-1]:
                    raise
                continue
            if step != steps[0]:
                self.notes.append(f"the GPU has no room for every layer: {step} of {layers} are on it")
            return handle
        raise AssertionError("the last step raises or returns")

    def _load(self, gpu_layers: int, on_progress: Callable[[float], bool] | None) -> object:
        raised: list[BaseException] = []
        given_up: list[bool] = []

        @api.llama_progress_callback  # type: ignore[untyped-decorator]
        def progress(share: float, _data: ctypes.c_void_p) -> bool:
            # An exception (Ctrl-C too) cannot cross C: it is kept, the load given up, then raised again.
            try:
                if on_progress is None or on_progress(share):
                    return True
                given_up.append(True)
                return False
            except BaseException as error:  # noqa: BLE001
                raised.append(error)
                return False

        parameters = api.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        parameters.progress_callback = progress
        last_error()
        handle = api.llama_model_load_from_file(_path_bytes(self.plan.options.model), parameters)
        if raised:
            raise raised[0]
        if given_up:
            raise ToolError(f"the load of {self.plan.options.model} was given up")
        if not handle:
            raise _LoadError(f"llama.cpp cannot load {self.plan.options.model}: {last_error()}")
        return handle


def load_adapter(model: object, path: Path | str) -> object:
    """Load a LoRA file for a model.

    Raises:
        ToolError: llama.cpp refuses it.
    """
    last_error()
    adapter = api.llama_adapter_lora_init(model, _path_bytes(path))
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


class _LoadError(ToolError):
    """llama.cpp returned no model."""


def _path_bytes(path: object) -> bytes:
    return str(path).encode("utf-8")  # llama.cpp takes UTF-8 on every system


class Vocabulary:
    """Text to token ids and back. Reads only, so any thread may use it."""

    def __init__(self, handle: object) -> None:
        self.handle = handle
        self.size = int(api.llama_vocab_n_tokens(handle))
        self._specials: dict[str, int] = {}

    def plain(self, text: str) -> list[int]:
        """Ids of plain text: no BOS, and nothing in it becomes a special token."""
        return self._tokenize(text, parse_special=False)

    def special(self, token: str) -> int:
        """Id of a special token.

        Raises:
            ConfigError: the vocabulary lacks it.
        """
        if token not in self._specials:
            ids = self._tokenize(token, parse_special=True)
            if len(ids) != 1 or self.text(ids[0]) != token:
                raise ConfigError(
                    f"the model's vocabulary has no special token {token}",
                    hint="choose the prompt format that the model was trained with",
                )
            self._specials[token] = ids[0]
        return self._specials[token]

    def text(self, token: int) -> str:
        """The token's own spelling, `▁` and all."""
        spelling: bytes = api.llama_vocab_get_text(self.handle, token) or b""
        return spelling.decode("utf-8", "replace")

    def piece(self, token: int) -> bytes:
        """The bytes a reader sees; control tokens are invisible."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = int(api.llama_token_to_piece(self.handle, token, buffer, size, 0, False))
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def ends_reply(self, token: int) -> bool:
        """Whether the model ends its reply with this token."""
        return bool(api.llama_vocab_is_eog(self.handle, token))

    def _tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        if not data:
            return []
        room = len(data) + 8  # a token is at least one byte; SentencePiece adds a blank
        buffer = (api.llama_token * room)()
        count = int(api.llama_tokenize(self.handle, data, len(data), buffer, room, False, parse_special))
        if count < 0:
            raise ToolError(f"llama.cpp cannot tokenize a text of {len(data)} bytes")
        return list(buffer[:count])
