"""Putting a model's weights into memory: how many layers on the GPU, with progress, and given up when told."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from configs.errors import MachineError, ToolError
from runtime import gpu_fit, llama_devices
from runtime.llama_library import api, last_error
from runtime.models import ModelPlan

Progress = Callable[[float], bool]


def load_weights(plan: ModelPlan, on_progress: Progress | None = None) -> tuple[object, int, list[str]]:
    """(llama_model, layers on the GPU, sentences about what was chosen).

    `auto` measures what the model needs and what is free, takes as many layers as fit, and fewer where llama.cpp then
    says no: to the weights, or to a context on them.

    Raises:
        ToolError: llama.cpp refuses the file, or `on_progress` returned False.
        MachineError: GPU layers were asked of a build without a GPU.
    """
    wanted = plan.options.gpu_layers
    has_gpu = bool(api.llama_supports_gpu_offload())
    if wanted != "auto":
        if wanted and not has_gpu:
            raise MachineError(
                "this llama.cpp was built without GPU support",
                hint="leave --gpu-layers out, or reinstall with `make install ACCEL=cuda`",
            )
        return _load(plan, int(wanted), on_progress), int(wanted), []
    devices = llama_devices.gpus() if has_gpu else []
    if not devices:
        return _load(plan, 0, on_progress), 0, []
    needed = gpu_fit.demand(
        plan.header, cells=llama_devices.cells(plan), compute_bytes=llama_devices.compute_bytes(plan)
    )
    chosen = gpu_fit.fit(needed, devices)
    for layers in gpu_fit.steps_down(chosen.layers):
        handle = _load_with_context(plan, layers, on_progress, last=layers == 0)
        if handle:
            taken = chosen.bytes * layers // chosen.layers if chosen.layers else 0
            return handle, layers, [gpu_fit.sentence(layers, plan.header.block_count + 1, taken, devices)]
    raise AssertionError("the last step raises or returns")


def _load_with_context(plan: ModelPlan, layers: int, on_progress: Progress | None, *, last: bool) -> object | None:
    """Load, and make a context once; None where the memory does not suffice and there is something left to try."""
    try:
        handle = _load(plan, layers, on_progress)
    except LoadError:
        if last:
            raise
        return None
    if last or llama_devices.has_room(handle, plan):
        return handle
    api.llama_model_free(handle)
    return None


def _load(plan: ModelPlan, gpu_layers: int, on_progress: Progress | None) -> object:
    path = plan.options.model
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
    handle = api.llama_model_load_from_file(path_bytes(path), parameters)
    if raised:
        raise raised[0]
    if given_up:
        raise ToolError(f"the load of {path} was given up")
    if not handle:
        raise LoadError(f"llama.cpp cannot load {path}: {last_error()}")
    return handle


class LoadError(ToolError):
    """llama.cpp returned no model."""


def path_bytes(path: Path | str) -> bytes:
    """As llama.cpp takes paths: UTF-8 on every system."""
    return str(path).encode("utf-8")
