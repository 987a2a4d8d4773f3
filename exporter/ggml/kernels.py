"""Quantization of rows, by ggml's own kernel where llama-cpp-python is installed, else in numpy.

ggml's kernel is called in the library that llama-quantize is built on, so the bytes are those of the same installed
llama-cpp-python: another compiler, or the same with other flags, may round another way (a multiply and an add that are
fused differ in 89 of 4.7 million bytes of q4_0).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import MachineError, require
from exporter.ggml.types import BLOCKS, GGML_NUMBERS
from exporter.tensor import ELEMENT_BYTES
from exporter.transforms.cast import F16_MAX, cast, check_range

if TYPE_CHECKING:
    from torch import Tensor

_NUMPY_TYPES = frozenset({"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q6_K"})
"""What numpy can quantize: gguf's code, and ours for q6_K."""

NUMPY_NOTE = "llama-cpp-python is not installed: quantizing with numpy, zero blocks may differ in the sign of a zero"


def encoder(dtype: str, *, tensor_name: str, through_f16: bool) -> Callable[[Tensor], memoryview]:
    """Rows [rows, columns] -> their bytes in `dtype`.

    Args:
        through_f16: round to f16 first, as the f16 GGUF between converter and llama-quantize does.

    Raises:
        MachineError: this type needs llama-cpp-python, which is not installed.
    """
    if dtype in ELEMENT_BYTES:
        return functools.partial(_encode_plain, dtype, tensor_name, through_f16 and dtype != "f16")
    quantize = _quantizer(dtype, tensor_name)

    def encode(rows: Tensor) -> memoryview:
        wide = rows.float()
        if through_f16:
            wide = wide.half().float()
        # A sum shows what is not finite for less than a look for the extremes costs: no chunk of numbers that f16 holds
        # can overflow float32. Without f16 on the way it is the blocks' f16 scales and minima that would overflow.
        if not (through_f16 and math.isfinite(float(wide.sum()))):
            check_range(rows, F16_MAX, tensor_name)
        return quantize(wide)

    return encode


def _encode_plain(dtype: str, tensor_name: str, through_f16: bool, rows: Tensor) -> memoryview:
    if through_f16:
        rows = cast(rows, "f16", tensor_name=tensor_name)
    return plain_bytes(cast(rows, dtype, tensor_name=tensor_name))


def plain_bytes(rows: Tensor) -> memoryview:
    """The bytes of a plain tensor, row by row, little-endian."""
    import torch

    return memoryview(rows.contiguous().view(torch.uint8).numpy()).cast("B")


def has_ggml() -> bool:
    """Whether ggml's own kernels are at hand."""
    return _library_path() is not None


def kernels_name() -> str:
    """Whose code quantizes: its bytes are a matter of the build."""
    if not has_ggml():
        return f"gguf {importlib.metadata.version('gguf')}"
    try:
        return f"llama-cpp-python {importlib.metadata.version('llama_cpp_python')}"
    except importlib.metadata.PackageNotFoundError:
        return "ggml"


def _quantizer(dtype: str, tensor_name: str) -> Callable[[Tensor], memoryview]:
    if has_ggml():
        _ggml().ggml_quantize_init(GGML_NUMBERS[dtype])  # here, in one thread: every worker's first chunk asks for it
        return functools.partial(_quantize_ggml, dtype)
    if dtype not in _NUMPY_TYPES:
        raise MachineError(
            f"{dtype}, which {tensor_name} gets, needs llama-cpp-python",
            hint="pip install 'lora2edge[export]', or --type q8_0",
        )
    return functools.partial(_quantize_numpy, dtype)


def _quantize_ggml(dtype: str, rows: Tensor) -> memoryview:
    """Quantize float32 rows. ggml aborts the process on a bad shape, so shapes are checked when types are chosen."""
    rows = rows.contiguous()
    elements, size = BLOCKS[dtype]
    assert rows.shape[1] % elements == 0
    out = bytearray(rows.numel() // elements * size)
    target = (ctypes.c_char * len(out)).from_buffer(out)
    written = _ggml().ggml_quantize_chunk(
        GGML_NUMBERS[dtype], rows.data_ptr(), target, 0, rows.shape[0], rows.shape[1], None
    )
    assert written == len(out)
    return memoryview(out)


def _quantize_numpy(dtype: str, rows: Tensor) -> memoryview:
    if dtype == "q6_K":
        from exporter.ggml.q6_k import quantize_q6_k

        return memoryview(quantize_q6_k(rows.contiguous().numpy()).tobytes())
    gguf = require("gguf", "convert")
    blocks = gguf.quantize(rows.contiguous().numpy(), gguf.GGMLQuantizationType(GGML_NUMBERS[dtype]))
    return memoryview(blocks).cast("B")


@functools.cache
def _ggml() -> ctypes.CDLL:
    path = _library_path()
    assert path is not None
    library = ctypes.CDLL(str(path))
    library.ggml_quantize_init.restype, library.ggml_quantize_init.argtypes = None, [ctypes.c_int]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    return library


@functools.cache
def _library_path() -> Path | None:
    """ggml's base library inside the installed llama_cpp, found without importing (and so initializing) llama.cpp."""
    package = importlib.util.find_spec("llama_cpp")
    if package is None or not package.submodule_search_locations:
        return None
    prefix, suffix = {"win32": ("", ".dll"), "darwin": ("lib", ".dylib")}.get(sys.platform, ("lib", ".so"))
    for location in package.submodule_search_locations:
        path = Path(location) / "lib" / f"{prefix}ggml-base{suffix}"
        if path.is_file():
            return path
    return None
