"""llama-quantize's own choice of types, without weights: skeletons of models, and a dry run over them.

A skeleton is a GGUF whose header promises a whole model and whose weights are a hole in the file: 138 GB of a 70B take
45 KB of disk. The library's log names the type that every tensor would get.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from exporter.ggml.mixture import ModelShape
from exporter.tensor import TensorSpec

_CHILD = """
import ctypes, json, sys
import llama_cpp

@llama_cpp.llama_log_callback
def log(_level, text, _data):
    sys.stdout.write(text.decode("utf-8", "replace"))

llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
for path, number, rules in json.load(sys.stdin):
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype, settings.dry_run, settings.nthread = number, True, 1
    table = (llama_cpp.llama_model_tensor_override * (len(rules) + 1))()
    for place, (pattern, kind) in enumerate(rules):
        table[place].pattern, table[place].type = pattern.encode(), kind
    if rules:
        settings.tt_overrides = ctypes.cast(table, type(settings.tt_overrides))
    print("\\n=====")
    if llama_cpp.llama_model_quantize(path.encode(), b"/dev/null", ctypes.byref(settings)) != 0:
        sys.exit(f"{path} {number}: refused")
"""
_LINE = re.compile(r"^\[ *\d+/ *\d+\] (\S+) +- \[.*?\], type = +(\w+), (?:.*\((\w+)\))?", re.MULTILINE)


@dataclass(frozen=True)
class Skeleton:
    """A dense model's shapes."""

    shape: ModelShape
    hidden: int
    wide: int
    rows: int = 32000
    tied: bool = False

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Every tensor as the converter's f16 file has it."""
        head = self.hidden // self.shape.heads
        narrow = head * self.shape.kv_heads
        shapes = {"token_embd.weight": (self.rows, self.hidden), "output_norm.weight": (self.hidden,)}
        if not self.tied:
            shapes["output.weight"] = (self.rows, self.hidden)
        for block in range(self.shape.layers):
            shapes |= {
                f"blk.{block}.{name}.weight": sizes
                for name, sizes in {
                    "attn_norm": (self.hidden,), "ffn_norm": (self.hidden,),
                    "attn_q": (self.hidden, self.hidden), "attn_k": (narrow, self.hidden),
                    "attn_v": (narrow, self.hidden), "attn_output": (self.hidden, self.hidden),
                    "ffn_gate": (self.wide, self.hidden), "ffn_up": (self.wide, self.hidden),
                    "ffn_down": (self.hidden, self.wide),
                }.items()
            }  # fmt: skip
            if self.shape.architecture == "qwen2":
                shapes |= {
                    f"blk.{block}.attn_{side}.bias": (rows,)
                    for side, rows in (("q", self.hidden), ("k", narrow), ("v", narrow))
                }
        return {name: TensorSpec(name, sizes, "f32" if len(sizes) < 2 else "f16") for name, sizes in shapes.items()}

    def write(self, path: Path) -> Path:
        """The sparse file."""
        import numpy as np
        from gguf import GGMLQuantizationType, GGUFWriter

        writer = GGUFWriter(path, self.shape.architecture)
        writer.add_block_count(self.shape.layers)
        writer.add_context_length(2048)
        writer.add_embedding_length(self.hidden)
        writer.add_feed_forward_length(self.wide)
        writer.add_head_count(self.shape.heads)
        writer.add_head_count_kv(self.shape.kv_heads)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_vocab_size(self.rows)
        size = 0
        for spec in self.specs.values():
            nbytes = spec.elements * (4 if spec.dtype == "f32" else 2)
            writer.add_tensor_info(
                spec.name, spec.shape, np.dtype(np.float32), nbytes, GGMLQuantizationType[spec.dtype.upper()]
            )
            size += nbytes + -nbytes % 32
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size + 32 + size)
        return path


def dry_run(requests: list[tuple[Path, int, list[tuple[str, int]]]]) -> list[dict[str, str]]:
    """Types by tensor name for every (file, file type's number, [(pattern, tensor type's number)]), in one child."""
    words = [(str(path), number, rules) for path, number, rules in requests]
    child = subprocess.run(
        [sys.executable, "-c", _CHILD], input=json.dumps(words), capture_output=True, text=True, errors="replace"
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return [
        {name: after or before for name, before, after in _LINE.findall(part)}
        for part in child.stdout.split("\n=====\n")[1:]
    ]
