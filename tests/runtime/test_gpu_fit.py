"""`--gpu-layers auto`: the arithmetic on invented GPUs, and what happens when llama.cpp disagrees with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import MachineError, ToolError
from runtime import llama_devices, llama_loading
from runtime.gguf_header import read_header
from runtime.gpu_fit import MARGIN_BYTES, Demand, Device, compute_buffer, demand, fit, sentence, steps_down
from runtime.interface import ModelOptions, ScoreRequest
from runtime.llama_engine import LlamaEngine
from runtime.llama_library import api
from runtime.llama_loading import load_weights
from runtime.models import plan_model

GIB = 1 << 30
# 32 layers of 110 MiB, an output of 100 MiB, 32 MiB of cache a layer, 200 MiB of buffers: 4.9 GiB in all.
SEVEN_B = Demand((110 << 20,) * 32, 100 << 20, 32 << 20, 200 << 20)


def gpu(free_bytes: float, name: str = "Invented 8 GB") -> Device:
    return Device(name, int(free_bytes))


def needed(layers: int) -> int:
    return (100 + 200 + max(0, layers - 1) * 142 << 20) + MARGIN_BYTES


def test_everything_goes_on_a_gpu_with_room() -> None:
    chosen = fit(SEVEN_B, [gpu(8 * GIB)])
    assert chosen.layers == 33
    assert chosen.bytes == needed(33) - MARGIN_BYTES


@pytest.mark.parametrize("layers", [1, 2, 17, 32, 33])
def test_one_byte_too_few_is_one_layer_fewer(layers: int) -> None:
    assert fit(SEVEN_B, [gpu(needed(layers))]).layers == layers
    assert fit(SEVEN_B, [gpu(needed(layers) - 1)]).layers == layers - 1


def test_a_larger_cache_or_a_larger_margin_leaves_fewer_layers() -> None:
    device = gpu(4 * GIB)
    many = Demand(SEVEN_B.layer_bytes, SEVEN_B.output_bytes, 4 * SEVEN_B.cache_bytes, SEVEN_B.compute_bytes)
    assert fit(many, [device]).layers < fit(SEVEN_B, [device]).layers
    assert fit(SEVEN_B, [device], margin_bytes=2 * GIB).layers < fit(SEVEN_B, [device]).layers


def test_two_gpus_hold_more_than_one_and_less_than_their_sum() -> None:
    two = fit(SEVEN_B, [gpu(3 * GIB), gpu(3 * GIB)]).layers
    assert fit(SEVEN_B, [gpu(3 * GIB)]).layers < two < fit(SEVEN_B, [gpu(6 * GIB)]).layers + 1


def test_no_gpu_and_no_room_are_no_layers() -> None:
    assert fit(SEVEN_B, []).layers == 0
    assert fit(SEVEN_B, [gpu(100 << 20)]).layers == 0
    assert "the processor does all the work" in sentence(0, 33, 0, [gpu(100 << 20)])


def test_the_choice_is_said_in_numbers() -> None:
    assert sentence(20, 33, 3_000_000_000, [gpu(4e9)]) == (
        "GPU Invented 8 GB: 20 of 33 layers, about 3.0 of 4.0 GB free"
    )


def test_steps_go_down_to_none() -> None:
    assert steps_down(33) == [33, 24, 16, 8, 0]
    assert steps_down(1) == [1, 0]
    assert steps_down(0) == [0]


def test_a_models_demand_is_its_tensors_and_its_cache(models: Path) -> None:
    header = read_header(models / "model.gguf")
    wanted = demand(header, cells=1024, compute_bytes=7)
    sizes = {name: tensor.size_bytes for name, tensor in header.entries.items()}
    assert sum(wanted.layer_bytes) + wanted.output_bytes == sum(sizes.values()) - sizes["token_embd.weight"]
    assert len(wanted.layer_bytes) == 2
    assert wanted.cache_bytes == 1024 * (2 * 16 + 2 * 16) * 2  # cells, key and value of 2 heads of 16, f16
    assert wanted.compute_bytes == 7


def test_the_compute_buffer_is_read_from_the_log() -> None:
    log = [
        "sched_reserve:      CUDA0 compute buffer size =   130.50 MiB",
        "sched_reserve:  CUDA_Host compute buffer size =   900.00 MiB",
        "sched_reserve:        CPU compute buffer size =   800.00 MiB",
    ]
    assert compute_buffer(log) == int(130.5 * (1 << 20))
    assert compute_buffer(log[2:]) == 0


def test_layers_on_a_build_without_a_gpu_are_exit_3_with_the_remedy(models: Path) -> None:
    if api.llama_supports_gpu_offload():
        pytest.skip("this build has a GPU")
    with pytest.raises(MachineError, match="make install ACCEL=cuda") as error:
        load_weights(plan_model(ModelOptions(models / "model.gguf", gpu_layers=3)))
    assert error.value.exit_code == 3


class Refusing:
    """Stands before llama.cpp on a machine with an invented GPU: loads, and contexts, fail above some layers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, loads: int = 99, contexts: int = 99) -> None:
        self.tried: list[int] = []
        self._load, self._loads, self._contexts = llama_loading._load, loads, contexts
        monkeypatch.setattr(api, "llama_supports_gpu_offload", lambda: True)
        monkeypatch.setattr(llama_devices, "gpus", lambda: [gpu(8 * GIB)])
        monkeypatch.setattr(llama_loading, "_load", self.load)
        monkeypatch.setattr(llama_devices, "has_room", lambda _model, _plan: self.tried[-1] <= self._contexts)

    def load(self, plan: object, layers: int, on_progress: object) -> object:
        self.tried.append(layers)
        if layers > self._loads:
            raise llama_loading.LoadError("out of memory")
        return self._load(plan, 0, on_progress)


@pytest.mark.parametrize(
    ("loads", "contexts", "tried"),
    [(99, 99, [3]), (2, 99, [3, 2]), (99, 1, [3, 2, 1]), (0, 99, [3, 2, 1, 0]), (99, 0, [3, 2, 1, 0])],
)
def test_where_it_does_not_fit_after_all_fewer_layers_are_tried(
    models: Path, monkeypatch: pytest.MonkeyPatch, loads: int, contexts: int, tried: list[int]
) -> None:
    refusing = Refusing(monkeypatch, loads=loads, contexts=contexts)
    handle, layers, notes = load_weights(plan_model(ModelOptions(models / "model.gguf")))
    api.llama_model_free(handle)
    assert refusing.tried == tried
    assert layers == tried[-1]
    assert len(notes) == 1
    assert notes[0].startswith("GPU Invented 8 GB: " + (f"{tried[-1]} of 3 layers" if tried[-1] else "no layer"))


@pytest.mark.parametrize(("loads", "pack"), [(99, llama_devices.PACK), (0, 0)])
def test_questions_are_scored_in_packs_where_layers_are_on_a_gpu(
    models: Path, monkeypatch: pytest.MonkeyPatch, loads: int, pack: int
) -> None:
    Refusing(monkeypatch, loads=loads)
    engine = LlamaEngine(plan_model(ModelOptions(models / "model.gguf", threads=1)))
    assert engine.pack_tokens == pack
    assert len(engine.score([ScoreRequest((1, 300, 301), ((5,), (6,)))])[0]) == 2
    engine.close()


def test_a_file_that_cannot_be_loaded_at_all_is_an_error_and_not_a_smaller_try(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Refusing(monkeypatch, loads=-1)
    with pytest.raises(ToolError, match="out of memory"):
        load_weights(plan_model(ModelOptions(models / "model.gguf")))
