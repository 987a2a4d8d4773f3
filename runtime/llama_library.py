"""llama.cpp's C functions, and its log caught before it reaches the terminal.

Together with the other `runtime.llama_*` modules, the only ones that know `llama_cpp`. Its class `Llama` is not used:
`verbose=False` there redirects file descriptors 1 and 2 of the whole process while a model loads, and one instance
holds one sequence.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.errors import require


def _bindings() -> Any:
    """The bindings, with OpenMP told to let waiting threads sleep; whoever sets OMP_WAIT_POLICY is heeded.

    OpenMP's threads spin while they wait for each other. Where another program wants the same cores that takes most
    of the time: with 2 threads on 2 busy cores 9 questions in 12 seconds instead of 134. libgomp reads the variable
    when it is loaded, which is when llama_cpp is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    require("llama_cpp", "edge")
    from llama_cpp import llama_cpp

    return llama_cpp


api: Any = _bindings()
"""llama.cpp; its types are those of ctypes, which say nothing."""

__all__ = ["api", "captured_log", "ggml", "last_error", "physical_cores", "schema_to_gbnf"]

logger = logging.getLogger(__name__)

_ERROR_LEVEL = 4  # enum ggml_log_level; the bindings' own comment has it wrong
_errors: deque[str] = deque(maxlen=20)
_captures: list[list[str]] = []


@api.llama_log_callback  # type: ignore[untyped-decorator]
def _log(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    """Keep errors for `last_error`; everything goes to the debug log, nothing to the terminal."""
    line = text.decode("utf-8", "replace").strip()
    if not line:
        return
    if level == _ERROR_LEVEL:
        _errors.append(line)
    for lines in _captures:
        lines.append(line)
    logger.debug("%s", line)


api.llama_log_set(_log, ctypes.c_void_p(0))
api.llama_backend_init()


def last_error() -> str:
    """The first thing llama.cpp complained of since the last call: what follows only repeats it."""
    first = _errors[0] if _errors else "no reason given"
    _errors.clear()
    return first.partition(": ")[2] or first


@contextmanager
def captured_log() -> Iterator[list[str]]:
    """The lines that llama.cpp logs until the block ends."""
    lines: list[str] = []
    _captures.append(lines)
    try:
        yield lines
    finally:
        _captures.remove(lines)


def ggml(name: str, result: Any, *arguments: Any) -> Any:
    """A C function of ggml, which the bindings leave out; the libraries are those that llama_cpp has loaded."""
    from llama_cpp._ggml import libggml, libggml_base_path

    try:
        function = getattr(libggml, name)
    except AttributeError:  # Windows looks into one library only
        from llama_cpp._ctypes_extensions import load_shared_library

        function = getattr(load_shared_library("ggml-base", libggml_base_path), name)
    function.restype, function.argtypes = result, arguments
    return function


def physical_cores() -> int:
    """Cores this process may use, without hyper-threads: the quickest number of threads for llama.cpp.

    More threads than cores make it several times slower, not faster, so a container's quota counts too.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # macOS, Windows
        return max(1, os.cpu_count() or 1)
    siblings = {_siblings(cpu) for cpu in allowed}
    return max(1, min(len(siblings), _quota()))


def _siblings(cpu: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text()
    except OSError:
        return str(cpu)


def _quota() -> int:
    """CPUs that the control group grants, rounded up."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return 1 << 16


def schema_to_gbnf(schema: str) -> str:
    """GBNF of a JSON Schema, by llama-cpp-python's own converter; it raises whatever it stumbles over."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    grammar: str = json_schema_to_gbnf(schema)
    return grammar
