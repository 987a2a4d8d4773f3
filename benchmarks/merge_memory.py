"""Peak memory and CPU time of `exporter merge` beside PEFT's merge_and_unload, on random models of two sizes.

    python benchmarks/merge_memory.py [--work FOLDER] > benchmarks/merge_memory.txt

Every measured run is a process of its own; figures are the kernel's for that process (wait4). The models are random,
bf16, with a rank-64 adapter on all seven linears; what a run writes is removed after it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HIDDEN, WIDE, HEADS, KV_HEADS, VOCAB, RANK, ALPHA = 1024, 2816, 16, 8, 32000, 64, 96

PEFT_MERGE = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, output = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(output)
"""
IMPORTS = "import torch, gguf, safetensors"


@dataclass(frozen=True)
class Figures:
    """What the kernel says of one process."""

    cpu_s: float
    peak_mb: float


def make_model(folder: Path, layers: int) -> None:
    """Write a random base and an adapter for it."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    linears = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (HIDDEN * KV_HEADS // HEADS, HIDDEN),
        "self_attn.v_proj": (HIDDEN * KV_HEADS // HEADS, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (WIDE, HIDDEN),
        "mlp.up_proj": (WIDE, HIDDEN),
        "mlp.down_proj": (HIDDEN, WIDE),
    }
    base, adapter = {}, {}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        base[name] = (torch.randn(VOCAB, HIDDEN) * 0.02).bfloat16()
    base["model.norm.weight"] = torch.ones(HIDDEN, dtype=torch.bfloat16)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            base[f"{prefix}{norm}.weight"] = torch.ones(HIDDEN, dtype=torch.bfloat16)
        for name, (out, into) in linears.items():
            base[f"{prefix}{name}.weight"] = (torch.randn(out, into) * 0.02).bfloat16()
            adapter[f"base_model.model.{prefix}{name}.lora_A.weight"] = torch.randn(RANK, into) * 0.02
            adapter[f"base_model.model.{prefix}{name}.lora_B.weight"] = torch.randn(out, RANK) * 0.02
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": WIDE,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCAB, "dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    lora = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    lora["target_modules"] = [name.rpartition(".")[2] for name in linears]
    for place, tensors, file, table in (
        (folder / "base", base, "model.safetensors", config),
        (folder / "adapter", adapter, "adapter_model.safetensors", lora),
    ):
        place.mkdir(parents=True)
        save_file(tensors, place / file, {"format": "pt"})
        (place / ("config.json" if place.name == "base" else "adapter_config.json")).write_text(json.dumps(table))
    make_tokenizer(folder / "base")


def make_tokenizer(folder: Path) -> None:
    """A small SentencePiece model: the rows it does not fill are padding."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a benchmark needs a tokenizer, any will do"] * 10),
        model_prefix=str(folder / "tokenizer"), model_type="bpe", vocab_size=290, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip


def measure(command: list[str]) -> Figures:
    """Run a command to its end; its own figures, not those of its parent."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command} failed:\n{said.decode()}")
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return Figures(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def runs(folder: Path) -> dict[str, list[str]]:
    """The commands to compare, by what they are called in the table."""
    base, adapter, out = str(folder / "base"), str(folder / "adapter"), str(folder / "out")
    ours = [sys.executable, "-P", "-m", "exporter.cli", "merge", "--base", base, "--adapter", adapter, "--threads", "2"]
    return {
        "exporter merge -> q4_0 GGUF": [*ours, "--format", "gguf", "--type", "q4_0", "--output", out],
        "exporter merge -> f16 GGUF": [*ours, "--format", "gguf", "--type", "f16", "--output", out],
        "exporter merge -> huggingface": [*ours, "--format", "huggingface", "--output", out],
        "PEFT merge_and_unload + save": [sys.executable, "-c", PEFT_MERGE, base, adapter, out],
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where to make the models (default: the temporary folder)")
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 18], help="layers of each model")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        make_model(args.make, args.layers[0])
        return
    imports = measure([sys.executable, "-c", IMPORTS])
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    print(f"`{IMPORTS}` alone: {imports.cpu_s:.1f} CPU s, {imports.peak_mb:.0f} MB\n")
    print(f"{'base, bf16':>10}  {'run':<30}  {'CPU s':>6}  {'peak RSS MB':>11}  {'written MB':>10}")
    for layers in args.layers:
        with tempfile.TemporaryDirectory(dir=args.work) as name:
            folder = Path(name)
            # In a child: a process starts with the peak of the one that forked it, so this one must stay small.
            subprocess.run([sys.executable, __file__, "--make", name, "--layers", str(layers)], check=True)
            size = (folder / "base" / "model.safetensors").stat().st_size / 1e6
            for title, command in runs(folder).items():
                figures = measure(command)
                row = f"{size:>7.0f} MB  {title:<30}  {figures.cpu_s:>6.1f}  {figures.peak_mb:>11.0f}"
                print(f"{row}  {written(folder):>10.0f}")
                sys.stdout.flush()


def written(folder: Path) -> float:
    """Size of a run's output in MB; removes it."""
    out = folder / "out"
    size = sum(file.stat().st_size for file in (out.rglob("*") if out.is_dir() else [out]) if file.is_file())
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    Path(f"{out}.manifest.json").unlink(missing_ok=True)
    return size / 1e6


if __name__ == "__main__":
    main()
