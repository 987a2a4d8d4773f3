"""What the static import contracts cannot see: which modules really load when a command starts."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import configs
import runtime

HEAVY = {
    "torch", "transformers", "peft", "deepspeed", "pandas", "llama_cpp", "datasets", "accelerate", "bitsandbytes", "numpy",
    "textual", "openpyxl", "python_calamine", "opencc", "gguf", "sentencepiece", "matplotlib", "safetensors", "tokenizers",
}  # fmt: skip
ROOMS = ("trainer", "exporter", "runtime", "tui")
LIGHT = [f"{room}.cli" for room in ROOMS] + [
    f"configs.{module.name}" for module in pkgutil.iter_modules(configs.__path__)
]


def loaded_by(code: str) -> set[str]:
    """Top-level names in sys.modules after `code` ran in a fresh interpreter."""
    report = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-P", "-c", report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_nothing_heavy(module):
    assert not loaded_by(f"import {module}") & HEAVY


@pytest.mark.parametrize("room", ROOMS)
def test_help_loads_nothing_heavy(room):
    code = (
        f"from {room}.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0"
    )
    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("room", ["runtime", "tui"])
def test_edge_rooms_never_load_torch(room):
    code = (
        "import importlib, pkgutil\n"
        f"import {room}\n"
        f"for module in pkgutil.walk_packages({room}.__path__, '{room}.'):\n"
        "    importlib.import_module(module.name)"
    )
    assert not loaded_by(code) & {
        "torch",
        "transformers",
        "peft",
        "deepspeed",
        "pandas",
        "datasets",
        "accelerate",
        "gguf",
    }


def test_only_named_modules_load_llama_cpp():
    """llama.cpp has one door in runtime and one in exporter; the import contract names them too."""
    code = "import exporter.pipeline, exporter.plan, runtime.chat, runtime.journal, runtime.report, runtime.scripted"
    assert "llama_cpp" not in loaded_by(code)


@pytest.mark.parametrize(
    "module", sorted(path.stem for path in Path(runtime.__path__[0]).glob("llama_*.py") if path.stem != "llama_child")
)
def test_numpy_is_loaded_after_llama_cpp(module):
    """The other order ends the process on some CUDA builds: see `runtime.llama_arrays`."""
    code = (
        f"import sys, runtime.{module}\n"
        "order = [name for name in sys.modules if name in ('llama_cpp.llama_cpp', 'numpy')]\n"
        "assert order in ([], ['llama_cpp.llama_cpp'], ['llama_cpp.llama_cpp', 'numpy']), order"
    )
    loaded_by(code)
