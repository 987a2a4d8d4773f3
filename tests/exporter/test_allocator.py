"""What the pass asks of the system's memory and files, and that it goes without where they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from exporter import allocator
from exporter.sources.safetensors_file import SafetensorsFile

_CHUNKS = """
import resource, sys
from exporter.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def chunk():
    for buffer in [bytearray(4 << 20) for _ in range(6)]:
        buffer[:: 4096] = bytes(1024)
for _ in range(3):
    chunk()
before = faults()
for _ in range(10):
    chunk()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_chunks_are_used_again_without_faulting_their_pages_in() -> None:
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", _CHUNKS, way], capture_output=True, text=True, check=True).stdout)
        for way in ("given back", "kept")
    )
    assert given_back > 10_000
    assert kept < 1_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    allocator.keep_freed_memory()


def test_rows_are_read_without_positioned_reads_and_hints(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_base / "model.safetensors"
    monkeypatch.delattr(os, "preadv", raising=False)
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    name, tensor = next((name, tensor) for name, tensor in load_file(path).items() if tensor.dim() == 2)
    assert SafetensorsFile(path).read_rows(name, 3, 70).equal(tensor[3:70])
