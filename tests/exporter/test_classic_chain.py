"""The whole classic chain, with llama.cpp's own converter: PEFT merge -> convert_hf_to_gguf.py -> llama-quantize.

The converter is in no package: unpack the source distribution of llama-cpp-python of the installed version
(`pip download --no-deps --no-binary :all: llama-cpp-python`) and name the folder in LLAMA_CPP_SDIST.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.formats import FORMAT_FILE
from exporter.ggml.types import FILE_TYPES
from tests import tiny
from tests.exporter import byte_level
from tests.exporter.adapters import make_adapter, peft_model
from tests.exporter.conftest import merge
from tests.exporter.oracles import llama_quantize

_SOURCE = Path(os.environ.get("LLAMA_CPP_SDIST", "/nowhere"), "vendor", "llama.cpp")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (_SOURCE / "convert_hf_to_gguf.py").is_file(), reason="LLAMA_CPP_SDIST names no source of llama-cpp-python"
    ),
]

SIZES = {"hidden": 256, "intermediate": 512, "layers": 3, "heads": 8, "kv_heads": 4}
LEVELS = {"hidden_size": 256, "intermediate_size": 512, "layers": 3}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64, "rope_theta": 500000.0,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}

CONVERT = """
import runpy, sys
source, pre, *sys.argv = sys.argv[1:]
sys.path.insert(0, source)
if pre:  # it knows byte-level tokenizers by a hash of their ids: a random vocabulary has none
    import conversion.base
    conversion.base.TextModel.get_vocab_base_pre = lambda *_: pre
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PRE = {"qwen2": "qwen2", "qwen3": "qwen2", "llama 3 rope": "llama-bpe", "yarn": "llama-bpe", "linear": "llama-bpe",
       "mistral": "llama-bpe"}  # fmt: skip

CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "dora on bf16": (lambda folder: tiny.base(folder, dtype="bfloat16", **SIZES), {"use_dora": True}),
    "dora on f16": (lambda folder: tiny.base(folder, dtype="float16", **SIZES), {"use_dora": True}),
    "dora on f32": (lambda folder: tiny.base(folder, **SIZES), {"use_dora": True}),
    "rslora, tied": (lambda folder: tiny.base(folder, dtype="bfloat16", tied=True, **SIZES), {"use_rslora": True}),
    "qwen2": (lambda folder: byte_level.model(folder, "qwen2", **LEVELS), {}),
    "qwen3": (lambda folder: byte_level.model(folder, "qwen3", head_dim=64, **LEVELS), {}),
    "llama 3 rope": (lambda folder: byte_level.model(folder, "llama", rope_parameters=LLAMA3, **LEVELS), {}),
    "yarn": (lambda folder: byte_level.model(folder, "llama", rope_parameters=YARN, **LEVELS), {}),
    "linear": (lambda folder: byte_level.model(folder, "llama", rope_parameters=LINEAR, **LEVELS), {}),
    "mistral": (lambda folder: byte_level.model(folder, "mistral", kind="llama-bpe", **LEVELS), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_whole_files_are_the_classic_chains(case: str, tmp_path: Path) -> None:
    make, fields = CASES[case]
    base = make(tmp_path / "base")
    for name in (FORMAT_FILE, "chat_template.jinja"):
        (base / name).unlink(missing_ok=True)
    adapter = make_adapter(
        base, tmp_path / "adapter", **{"target_modules": ["q_proj", "k_proj", "down_proj"], **fields}
    )
    merged = Path(shutil.copytree(base, tmp_path / "M"))  # the converter writes the folder's name into the file
    peft_model(base, adapter).merge_and_unload().save_pretrained(merged)
    plain = tmp_path / "plain.gguf"
    words = [_SOURCE / "convert_hf_to_gguf.py", merged, "--outtype", "f16", "--outfile", plain]
    command = [sys.executable, "-c", CONVERT, _SOURCE, PRE.get(case, ""), *words]
    environment = {**os.environ, "PYTHONPATH": str(_SOURCE / "gguf-py")}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for file_type in ("f16", "q8_0", "q4_0", "q4_k_m", "iq4_xs"):
        theirs = plain
        if file_type != "f16":
            theirs = tmp_path / "theirs.gguf"
            llama_quantize(plain, theirs, FILE_TYPES[file_type])
        ours = merge(base, tmp_path / "ours" / f"{file_type}.gguf", adapter, type=file_type, name="M")
        assert ours.read_bytes() == theirs.read_bytes(), file_type
