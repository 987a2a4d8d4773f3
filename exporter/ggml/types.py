"""The types of a GGUF: of its tensors (block sizes, ggml's numbers) and of files as a whole (`--type`)."""

from __future__ import annotations

from exporter.tensor import TensorSpec

BLOCKS: dict[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q4_0": (32, 18),
    "q4_1": (32, 20),
    "q5_0": (32, 22),
    "q5_1": (32, 24),
    "iq4_nl": (32, 18),
    "iq4_xs": (256, 136),
    "q2_K": (256, 84),
    "q3_K": (256, 110),
    "q4_K": (256, 144),
    "q5_K": (256, 176),
    "q6_K": (256, 210),
}
"""Elements and bytes of one block, by tensor type."""

GGML_NUMBERS = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_K": 10, "q3_K": 11, "q4_K": 12,
    "q5_K": 13, "q6_K": 14, "iq4_nl": 20, "iq4_xs": 23, "bf16": 30,
}  # fmt: skip
"""Tensor types' numbers (ggml.h, enum ggml_type)."""

FILE_TYPES = {
    "f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_1": 3, "q5_0": 8, "q5_1": 9,
    "q2_k": 10, "q3_k_s": 11, "q3_k_m": 12, "q3_k_l": 13, "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17,
    "q6_k": 18, "iq4_nl": 25, "iq4_xs": 30,
}  # fmt: skip
"""`general.file_type` (llama.h, enum llama_ftype) of everything that `--type` takes for a GGUF."""

EXPORT_TYPES = tuple(FILE_TYPES)
"""What `--type` takes for a GGUF."""

QUANTIZED = frozenset(FILE_TYPES) - {"f32", "f16", "bf16"}
"""Types that llama-quantize makes from an f16 file."""

QUANTIZATION_VERSION = 2
"""`general.quantization_version` (GGML_QNT_VERSION)."""


def default_type(file_type: str) -> str:
    """What a file of this type is made of, before any rule: `q4_k_m` -> `q4_K`."""
    return f"{file_type[:2]}_K" if file_type[2:4] == "_k" else file_type


def tensor_bytes(spec: TensorSpec, dtype: str) -> int:
    """Bytes of a tensor stored as `dtype`."""
    elements, size = BLOCKS[dtype]
    return spec.elements // elements * size
