"""Memory by part, on the device and on the host, for one way to train. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.planning.amounts import GIB

if TYPE_CHECKING:
    from trainer.planning.fake_step import Step

Bits = int
"""Of a weight inside the blocks: 16 (as the compute type has it, 32 on a CPU), 8 or 4."""

_BYTES = {8: 1.002, 4: 0.516}
"""A weight: 8-bit with a scale a row; NF4 with a doubly quantized scale every 64."""

# Estimates, until a card is measured: what CUDA itself takes, and a process with its libraries on a GPU machine.
_CUDA = 0.8 * GIB
_GPU_PROCESS = 2.5 * GIB
_CPU_SLACK = 40 << 20
"""What the allocator and the matrix kernels keep on a CPU beside the tensors."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to train: bits a weight, and where DeepSpeed puts things."""

    bits: Bits
    deepspeed: str
    zero: Mapping[str, Any] | None
    """The section `zero_optimization`; None without DeepSpeed."""

    @property
    def stage(self) -> int:
        """ZeRO's stage; 0 without DeepSpeed."""
        return int((self.zero or {}).get("stage", 0))

    def offloads(self, what: str) -> bool:
        """Whether `optimizer` or `param` lives on the host."""
        return bool((self.zero or {}).get(f"offload_{what}"))


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes by part."""

    device: dict[str, float] = field(default_factory=dict)
    """On each GPU; on a CPU all there is."""
    host: dict[str, float] = field(default_factory=dict)
    """Of the machine's memory, beside a GPU."""

    @property
    def device_total(self) -> float:
        """Sum of the device's parts."""
        return sum(self.device.values())

    @property
    def host_total(self) -> float:
        """Sum of the host's parts."""
        return sum(self.host.values())


@dataclass(frozen=True, slots=True)
class Setting:
    """What the parts depend on besides the way."""

    step: Step
    width: int
    """Bytes of an unquantized number: 4 in f32, 2 in bf16."""
    optimizer: str = "adamw"
    """As in `training.optimizer`."""
    trains_base: bool = False
    """Whether the base's own weights are trained, and no adapter."""
    processes: int = 1
    libraries: int = 0
    """Bytes of a CPU process before it loads a model."""


def parts_on_gpu(setting: Setting, way: Way) -> Parts:
    """Estimated parts of a training on GPUs, a process each, all in one machine."""
    step, width, count = setting.step, setting.width, setting.processes
    weights = _weights(setting, way.bits)
    is_split = way.stage == 3 and way.bits == 16  # a quantized base is loaded whole by every process
    host = {"processes": _GPU_PROCESS * count}
    device = {"base": weights}
    if is_split and way.offloads("param"):
        live = (way.zero or {}).get("stage3_max_live_parameters", 1e9) * width
        device["base"] = min(weights, live + step.largest_linear * width)
        host["offloaded base"] = weights
    elif is_split:
        device["base"] = weights / count
    device["trained"], offloaded = _trained_on_gpu(setting, way)
    if offloaded:
        host["offloaded optimizer"] = offloaded
    device["activations"] = max(step.training, step.evaluation)
    device["work space"] = _buckets(setting, way) + (step.largest_linear * width if way.bits < 16 else 0)
    device["CUDA"] = _CUDA
    return Parts(device, host)


def parts_on_cpu(setting: Setting, way: Way) -> Parts:
    """Parts of a training on a CPU, for all its processes."""
    step, count = setting.step, setting.processes
    each = {
        "base": _weights(setting, way.bits),
        # f32 weights, gradients and Adam's moments; DeepSpeed lays the weights and gradients end to end once more.
        "trained": (8 + _moments(setting) + (0 if way.zero is None else 8)) * step.trained,
        "activations": max(step.training, step.evaluation),
        "work space": (step.largest_linear * setting.width if way.bits < 16 else 0) + _CPU_SLACK,
        "libraries": setting.libraries,
    }
    return Parts({name: size * count for name, size in each.items()})


def _weights(setting: Setting, bits: Bits) -> float:
    step = setting.step
    inside = setting.width if bits == 16 else _BYTES[bits]
    own = step.trained * setting.width if setting.trains_base else 0  # counted with what is trained
    return step.in_layers * inside + (step.parameters - step.in_layers) * setting.width - own


def _moments(setting: Setting) -> int:
    """Bytes of Adam's two moments of one number."""
    return 2 if "8bit" in setting.optimizer else 8


def _trained_on_gpu(setting: Setting, way: Way) -> tuple[float, float]:
    """(bytes on each GPU, bytes on the host): weights, gradients, Adam's moments, and f32 masters of bf16 weights."""
    trained, count, width = setting.step.trained, setting.processes, setting.width
    moments = _moments(setting) * trained
    if way.zero is None:
        paged = setting.optimizer.startswith("paged")
        return 8 * trained + (0 if paged else moments), moments if paged else 0
    master = 4 * trained if width == 2 else 0
    states = moments + master
    gradients = width * trained / (count if way.stage >= 2 else 1)
    weights = width * trained / (count if way.stage == 3 else 1)
    if way.offloads("optimizer"):
        return weights + gradients, states + 4 * trained
    return weights + gradients + states / (count if way.stage >= 1 else 1), 0


def _buckets(setting: Setting, way: Way) -> float:
    """Buffers in which DeepSpeed gathers gradients; they are made whole, however few the gradients."""
    zero = way.zero or {}
    size = zero.get("reduce_bucket_size", 0)
    if not zero.get("contiguous_gradients") or way.stage not in (2, 3) or not isinstance(size, int):
        return 0
    return size * setting.width * (2 if zero.get("overlap_comm") and way.stage == 2 else 1)
