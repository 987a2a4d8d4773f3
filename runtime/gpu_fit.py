"""How many layers fit a GPU: weights, key-value cache and compute buffers against the memory that is free.

Pure arithmetic on what the file and the devices say. llama.cpp counts the output matrix as one layer more: with `n`
layers on the GPU it puts there the output and the last `n - 1` of the others, each with its part of the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runtime.gguf_header import GgufHeader

MARGIN_BYTES = 512 << 20
"""Left free on every device: drivers and other programs take more at unforeseen times."""

_BLOCK = re.compile(r"^blk\.(\d+)\.")
_COMPUTE = re.compile(r"(\S+) compute buffer size = +([\d.]+) MiB")
_CACHE_VALUE_BYTES = 2  # f16


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU."""

    name: str
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What a model asks of the memory it is put in."""

    layer_bytes: tuple[int, ...]
    """Weights of every layer, first to last."""
    output_bytes: int
    """Weights that belong to no layer, but for the input embeddings: those stay in the host's memory."""
    cache_bytes: int
    """Of one layer."""
    compute_bytes: int
    """Buffers for intermediate values, on each device."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What was chosen."""

    layers: int
    """For llama.cpp: 0 to the model's own number and one."""
    bytes: int
    """What they take, on all devices together."""


def demand(header: GgufHeader, *, cells: int, compute_bytes: int) -> Demand:
    """What a model file asks for with a cache of `cells` tokens."""
    layers = [0] * header.block_count
    output = tied = 0
    for name, tensor in header.entries.items():
        if found := _BLOCK.match(name):
            if int(found[1]) < len(layers):
                layers[int(found[1])] += tensor.size_bytes
        elif name.startswith("token_embd"):
            tied += tensor.size_bytes
        else:
            output += tensor.size_bytes
    if "output.weight" not in header.entries:  # tied: the embeddings are the output too, and so on both sides
        output += tied
    return Demand(tuple(layers), output, cells * cache_values(header) * _CACHE_VALUE_BYTES, compute_bytes)


def cache_values(header: GgufHeader) -> int:
    """Values that the cache holds for one token in one layer; the most, where the heads differ by layer."""
    heads = header.number("attention.head_count")
    width = header.number("embedding_length")
    if not heads:
        return 2 * width
    each = width // heads
    key, value = (header.number(f"attention.{name}_length") or each for name in ("key", "value"))
    return (header.number("attention.head_count_kv") or heads) * (key + value)


def fit(wanted: Demand, devices: Sequence[Device], *, margin_bytes: int = MARGIN_BYTES) -> Fit:
    """The most layers that the devices hold together.

    On several devices llama.cpp splits by whole layers, so on each but the first the largest layer may be lost.
    """
    room = sum(max(0, device.free_bytes - margin_bytes - wanted.compute_bytes) for device in devices)
    room -= (len(devices) - 1) * (max(wanted.layer_bytes, default=0) + wanted.cache_bytes)
    taken = wanted.output_bytes
    if not devices or taken > room:
        return Fit(0, 0)
    layers = 1
    for weights in reversed(wanted.layer_bytes):
        if taken + weights + wanted.cache_bytes > room:
            break
        taken += weights + wanted.cache_bytes
        layers += 1
    return Fit(layers, taken + len(devices) * wanted.compute_bytes)


def steps_down(layers: int) -> list[int]:
    """What to try where the choice fails after all: fewer and fewer, and none in the end."""
    return list(dict.fromkeys([layers, layers * 3 // 4, layers // 2, layers // 4, 0]))


def compute_buffer(log: Iterable[str]) -> int:
    """Bytes of the largest compute buffer on a GPU, by what llama.cpp logged while it reserved them."""
    sizes = [
        float(found[2]) * (1 << 20)
        for line in log
        if (found := _COMPUTE.search(line)) and not found[1].startswith("CPU") and not found[1].endswith("_Host")
    ]
    return int(max(sizes, default=0))


def sentence(chosen: int, of: int, taken_bytes: int, devices: Sequence[Device]) -> str:
    """What a person reads about the choice."""
    names = ", ".join(dict.fromkeys(device.name for device in devices)) or "none"
    free = sum(device.free_bytes for device in devices)
    if not chosen:
        return f"GPU {names}: no layer fits the {free / 1e9:.1f} GB that are free; the processor does all the work"
    return f"GPU {names}: {chosen} of {of} layers, about {taken_bytes / 1e9:.1f} of {free / 1e9:.1f} GB free"
