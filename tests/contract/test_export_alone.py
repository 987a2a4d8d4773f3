"""`exporter` on a machine that has only `.[export]` and no network: no transformers, no peft, no socket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_CHILD = """
import importlib.abc, socket, sys

ABSENT = {"transformers", "peft", "accelerate", "datasets", "deepspeed", "bitsandbytes", "pandas"}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

def no_network(*_, **__):
    raise AssertionError("the exporter opened a socket")

sys.meta_path.insert(0, Absent())
socket.socket.connect = socket.create_connection = socket.getaddrinfo = no_network
from exporter.cli import main
base, adapter, out = sys.argv[1:]
inputs = ["--base", base, "--adapter", adapter]
for words in (
    ["merge", *inputs, "--format", "gguf", "--type", "f16", "--output", f"{out}/f16.gguf"],
    ["merge", *inputs, "--format", "huggingface", "--output", f"{out}/hf"],
    ["merge", *inputs, "--format", "pth", "--shards", "2", "--output", f"{out}/pth"],
    ["adapter", *inputs, "--output", f"{out}/lora.gguf"],
    ["quantize", f"{out}/f16.gguf", "--type", "q4_k_m", "--output", f"{out}/q.gguf"],
    ["inspect", f"{out}/q.gguf"],
    ["verify", f"{out}/q.gguf", *inputs],
    ["verify", f"{out}/lora.gguf", *inputs],
    ["verify", f"{out}/pth", *inputs],
):
    assert main(words) == 0, words
loaded = ABSENT | {"llama_cpp", "safetensors", "huggingface_hub"}
assert not loaded & set(sys.modules), loaded & set(sys.modules)
"""


def test_every_command_works_without_transformers_peft_and_network(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    command = [sys.executable, "-c", _CHILD, tiny_base, tiny_adapter, tmp_path]
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "pth" / "consolidated.01.pth").is_file()
