"""Which type every tensor of a GGUF gets: llama-quantize's rules for a dense Llama, and the sizes of types."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.tensor import TensorSpec

BLOCKS: dict[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q4_0": (32, 18),
    "q6_K": (256, 210),
}
"""Elements and bytes of one block."""

EXPORT_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0")
"""What `--type` takes for a GGUF."""

FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}
"""`general.file_type` (llama.h, enum llama_ftype)."""

QUANTIZED = frozenset({"q8_0", "q4_0"})
"""Types that llama-quantize makes from an f16 file."""

QUANTIZATION_VERSION = 2
"""`general.quantization_version` (GGML_QNT_VERSION)."""


def tensor_bytes(spec: TensorSpec, dtype: str) -> int:
    """Bytes of a tensor stored as `dtype`."""
    elements, size = BLOCKS[dtype]
    return spec.elements // elements * size


def choose_types(specs: Mapping[str, TensorSpec], file_type: str) -> dict[str, str]:
    """The type of every tensor (by GGUF name) in a file of this type.

    Source: llama.cpp, `tensor_allows_quantization`, `llama_tensor_get_type` and `tensor_type_fallback`
    (src/llama-quant.cpp); the tests hold it against `llama_model_quantize` of the installed library.
    """
    tied = "output.weight" not in specs
    return {name: _choose(spec, file_type, tied) for name, spec in specs.items()}


def _choose(spec: TensorSpec, file_type: str, tied: bool) -> str:
    if len(spec.shape) < 2 or spec.name.endswith("_norm.weight"):
        return "f32"
    if file_type not in QUANTIZED:
        return file_type
    chosen = file_type
    is_output = spec.name == ("token_embd.weight" if tied else "output.weight")
    if is_output:
        chosen = "q6_K" if file_type != "q8_0" and spec.columns % BLOCKS[file_type][0] == 0 else "q8_0"
    if spec.columns % BLOCKS[chosen][0] and chosen == "q6_K":
        chosen = "q8_0"
    return chosen if spec.columns % BLOCKS[chosen][0] == 0 else "f16"
