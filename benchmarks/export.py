"""`exporter merge` beside the classic chain, PEFT merge -> llama.cpp's converter -> llama-quantize, in one run.

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36 && tar -xzf llama_cpp_python-0.3.36.tar.gz
    python benchmarks/export.py --sdist llama_cpp_python-0.3.36 [--sizes 0.1B 0.5B 1.1B] [--alone 7B] [--type q4_0]

The models are random, bf16, with an adapter on all seven linears. Each step runs in a process of its own from a
cold cache (its inputs are dropped from the page cache first). CPU seconds and bytes are the kernel's for the process
and all its children; bytes are those that went to and from the disk (/proc/PID/io: read_bytes, write_bytes), so mapped
files count; "busy" is the share of all cores' time that the step used; peak RSS is the larger of the sum over the
process tree, sampled every 20 ms, and the kernel's own high-water mark. "Limit" is what nobody can beat on this
machine: the base and the output once through the disk at the speed measured just after, or ggml's kernel alone on every
weight on all cores, whichever takes longer. The two files are compared at the end. Sizes after --alone are run without
the classic chain, which needs the whole model in memory.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

VOCAB, SCALE = 32000, 1.5
SIZES = {
    "0.1B": {"hidden": 768, "wide": 2048, "layers": 12, "heads": 12, "kv_heads": 4},
    "0.5B": {"hidden": 1280, "wide": 3456, "layers": 24, "heads": 20, "kv_heads": 4},
    "1.1B": {"hidden": 2048, "wide": 5632, "layers": 22, "heads": 32, "kv_heads": 4},
    "7B": {"hidden": 4096, "wide": 11008, "layers": 32, "heads": 32, "kv_heads": 32},
}
NAME = "M"  # one capital letter: the converter writes the folder's name, title-cased, into the file

PEFT_MERGE = """
import shutil, sys
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, output = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(output)
shutil.copy(base + "/tokenizer.model", output)
"""
LLAMA_QUANTIZE = """
import ctypes, sys
import llama_cpp
settings = llama_cpp.llama_model_quantize_default_params()
settings.ftype, settings.nthread = int(sys.argv[3]), int(sys.argv[4])
raise SystemExit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(settings)))
"""
METERED_MERGE = """
import json, sys, time
import exporter.merge
from exporter.cli import main
show = exporter.merge.show
def metered(events, title):
    wall, cpu = time.monotonic(), time.process_time()
    show(events, title)
    with open(sys.argv[1], "w") as file:
        json.dump({"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}, file)
exporter.merge.show = metered
raise SystemExit(main(sys.argv[2:]))
"""
MEASURE = """
import json, resource, subprocess, sys
def io():
    return {key: int(value) for key, value in (line.split(": ") for line in open("/proc/self/io"))}
before = io()
code = subprocess.call(sys.argv[2:])
after, usage = io(), resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump({"code": code, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024,
           "read": after["read_bytes"] - before["read_bytes"], "written": after["write_bytes"] - before["write_bytes"]},
          open(sys.argv[1], "w"))
"""


@dataclass(frozen=True)
class Figures:
    """What one step, or several one after another, cost."""

    cpu: float
    wall: float
    rss: float
    read: float
    written: float

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.cpu + other.cpu, self.wall + other.wall, max(self.rss, other.rss), self.read + other.read,
            self.written + other.written,
        )  # fmt: skip

    def row(self, title: str, limit: float) -> str:
        """A line of the table; `limit` in seconds."""
        return (
            f"| {title} | {self.cpu:.1f} | {self.wall:.1f} | {busy(self.cpu, self.wall)} | {self.rss / 1e6:.0f} | "
            f"{self.read / 1e9:.2f} | {self.written / 1e9:.2f} | {limit / self.wall:.0%} |"
        )


def main() -> None:
    """Measure every size and print a section for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdist", type=Path, help="the unpacked source distribution of llama-cpp-python")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["0.1B", "0.5B", "1.1B"])
    parser.add_argument("--alone", nargs="+", choices=SIZES, default=[], help="sizes to run without the classic chain")
    parser.add_argument("--ranks", nargs="+", type=int, default=[16, 64], help="of the adapters")
    parser.add_argument("--type", default="q4_0", help="of the GGUF")
    parser.add_argument("--work", type=Path, help="where to make the models (default: the temporary folder)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--make", nargs=3, metavar=("SIZE", "RANK", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        size, rank, folder = args.make
        make_model(Path(folder), rank=int(rank), **SIZES[size])
        return
    if args.sdist is None or not converter(args.sdist).is_file():
        parser.error("--sdist must name a folder with vendor/llama.cpp/convert_hf_to_gguf.py")
    print(f"`python benchmarks/export.py {' '.join(sys.argv[1:])}`\n\n{machine()}\n")
    for size, rank in itertools.product(dict.fromkeys([*args.sizes, *args.alone]), args.ranks):
        with tempfile.TemporaryDirectory(dir=args.work) as name:
            sdist = None if size in args.alone else args.sdist
            compare(size, rank, Path(name), sdist, args.type, args.threads)


def compare(size: str, rank: int, work: Path, sdist: Path | None, file_type: str, threads: int) -> None:
    """One size: make the model, run both ways, print the table. Without an sdist, ours alone."""
    # In a child: a process starts with the peak of the one that forked it, so this one must stay small.
    subprocess.run([sys.executable, __file__, "--make", size, str(rank), str(work)], check=True)
    base, ours, theirs = work / "base", work / "ours.gguf", work / "theirs.gguf"
    weights = base / "model.safetensors"
    if shutil.disk_usage(work).free < (3 if sdist else 1) * weights.stat().st_size:
        raise SystemExit(f"{size}: the disk has too little room for what the steps write")
    load = os.getloadavg()[0]
    meter = work / "pass.json"
    fused = measure(our_command(work, ours, meter, file_type, threads), [base, work / "adapter"])
    steps = {}
    if sdist:
        for title, command, inputs in classic_steps(work, sdist, theirs, file_type, threads):
            steps[title] = measure(command, inputs)
    disk, kernel = disk_seconds(weights, ours), kernel_seconds(weights, file_type, threads)
    limit = max(disk, kernel)
    parameters = weights.stat().st_size / 2e9
    print(f"## {size} ({parameters:.2f} billion weights, bf16) with a rank-{rank} adapter -> {file_type}\n")
    print("| step | CPU s | wall s | busy | peak RSS MB | read GB | written GB | limit / wall |")
    print("|---|---|---|---|---|---|---|---|")
    print(fused.row("**exporter merge**", limit))
    for title, figures in steps.items():
        print(figures.row(title, limit))
    if steps:
        print_comparison(fused, list(steps.values()), limit)
        print(f"The file has {'the same bytes' if digest(ours) == digest(theirs) else 'OTHER BYTES'}.", end=" ")
    else:
        print("\nThe classic chain was not run.", end=" ")
    of_pass = json.loads(meter.read_text())
    print(
        f"The pass alone: {of_pass['cpu']:.1f} CPU s in {of_pass['wall']:.1f} s, cores "
        f"{busy(of_pass['cpu'], of_pass['wall'])} busy.\n"
        f"Limit: {disk:.1f} s by the disk, {kernel:.1f} s by the kernel alone on {threads} cores. "
        f"Load average before the first step: {load:.1f}.\n"
    )
    sys.stdout.flush()


def print_comparison(fused: Figures, steps: Sequence[Figures], limit: float) -> None:
    """The chain's steps as one line, and how many times more it took."""
    classic = sum(steps[1:], steps[0])
    print(classic.row("**classic chain**", limit))
    moved = (classic.read + classic.written) / (fused.read + fused.written)
    print(
        f"\nCPU {classic.cpu / fused.cpu:.1f}x, wall {classic.wall / fused.wall:.1f}x, memory "
        f"{classic.rss / fused.rss:.1f}x, bytes moved {moved:.1f}x less.",
        end=" ",
    )


def busy(cpu: float, wall: float) -> str:
    """The share of all cores' time that was used."""
    return f"{cpu / wall / (os.cpu_count() or 1):.0%}"


def our_command(work: Path, output: Path, meter: Path, file_type: str, threads: int) -> list[str]:
    """The one step of ours; it notes at `meter` what the pass alone took."""
    return [
        sys.executable, "-P", "-c", METERED_MERGE, str(meter), "merge", "--base", str(work / "base"), "--adapter",
        str(work / "adapter"), "--format", "gguf", "--type", file_type, "--output", str(output), "--name", NAME,
        "--threads", str(threads),
    ]  # fmt: skip


def classic_steps(
    work: Path, sdist: Path, output: Path, file_type: str, threads: int
) -> Iterator[tuple[str, list[str], list[Path]]]:
    """Title, command and inputs of every step; an intermediate model goes when the step after it is done."""
    from exporter.ggml.types import FILE_TYPES

    base, adapter, merged, plain = work / "base", work / "adapter", work / NAME, work / "f16.gguf"
    python = sys.executable
    yield "PEFT merge and save", [python, "-c", PEFT_MERGE, str(base), str(adapter), str(merged)], [base, adapter]
    convert = [python, str(converter(sdist)), str(merged), "--outtype", "f16", "--outfile", str(plain)]
    yield "convert_hf_to_gguf f16", convert, [merged]
    shutil.rmtree(merged)
    number = str(FILE_TYPES[file_type])
    yield "llama_model_quantize", [python, "-c", LLAMA_QUANTIZE, str(plain), str(output), number, str(threads)], [plain]
    plain.unlink()


def converter(sdist: Path) -> Path:
    """llama.cpp's converter in the source distribution."""
    return sdist / "vendor" / "llama.cpp" / "convert_hf_to_gguf.py"


def measure(command: list[str], inputs: Iterable[Path]) -> Figures:
    """Run a command from a cold cache to its end."""
    drop_from_cache(inputs)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with tempfile.NamedTemporaryFile("r") as answer, tempfile.TemporaryFile("w+") as said:
        start = time.monotonic()
        meter = subprocess.Popen(
            [sys.executable, "-c", MEASURE, answer.name, *command], env=environment, stdout=said, stderr=said
        )
        peak = 0
        while meter.poll() is None:
            peak = max(peak, sum(resident(pid) for pid in descendants(meter.pid)))
            time.sleep(0.02)
        wall = time.monotonic() - start
        table = json.load(answer) if meter.returncode == 0 else {"code": 1}
        if table["code"]:
            said.seek(0)
            raise SystemExit(f"{command} failed:\n{said.read()[-3000:]}")
    return Figures(table["cpu"], wall, max(peak, table["rss"]), table["read"], table["written"])


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, but not a fork that is yet to become another program: its memory is its parent's."""
    try:
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        own = Path(f"/proc/{pid}/cmdline").read_bytes()
        children = [
            int(child) for children in lists for child in children if Path(f"/proc/{child}/cmdline").read_bytes() != own
        ]
    except OSError:
        return []
    return children + [below for child in children for below in descendants(child)]


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


def drop_from_cache(paths: Iterable[Path]) -> None:
    """Write files out and forget their pages, so that the next step reads them from the disk."""
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
                    os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_seconds(source: Path, output: Path) -> float:
    """To read the base and write the output once, with nothing else to do."""
    drop_from_cache([source])
    buffer = bytearray(8 << 20)
    start = time.monotonic()
    with source.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    size, copy = output.stat().st_size, output.with_suffix(".copy")
    with copy.open("wb", buffering=0) as file:
        for _ in range(0, size, len(buffer)):
            file.write(buffer)
        os.fsync(file.fileno())
    seconds = time.monotonic() - start
    copy.unlink()
    return seconds


def kernel_seconds(source: Path, file_type: str, threads: int) -> float:
    """To quantize every weight with ggml's kernel on all cores, from memory."""
    code = (
        "import sys, time, torch\n"
        "from exporter.ggml.kernels import encoder\n"
        "from exporter.ggml.types import default_type\n"
        "rows = torch.randn(2048, 4096)\n"
        "encode = encoder(default_type(sys.argv[1]), tensor_name='x', through_f16=False)\n"
        "encode(rows)\n"
        "start = time.perf_counter()\n"
        "for _ in range(5): encode(rows)\n"
        "print((time.perf_counter() - start) / 5 / rows.numel())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, file_type], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout) * source.stat().st_size / 2 / threads


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def machine() -> str:
    """What this was measured on."""
    models = {
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    }
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") / 1e9
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "peft", "transformers", "llama-cpp-python"))
    return (
        f"{', '.join(models) or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB of memory, "
        f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}, {versions}"
    )


def version(name: str) -> str:
    """Of an installed package."""
    import importlib.metadata

    return importlib.metadata.version(name)


def make_model(folder: Path, *, rank: int, hidden: int, wide: int, layers: int, heads: int, kv_heads: int) -> None:
    """Write a random base and an adapter for it, tensor by tensor."""
    keys = hidden * kv_heads // heads
    linears = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden), "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }  # fmt: skip
    base: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, hidden), "lm_head.weight": (VOCAB, hidden)}
    base["model.norm.weight"] = (hidden,)
    adapter: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        base |= {f"{prefix}{norm}.weight": (hidden,) for norm in ("input_layernorm", "post_attention_layernorm")}
        for name, (out, into) in linears.items():
            base[f"{prefix}{name}.weight"] = (out, into)
            adapter[f"base_model.model.{prefix}{name}.lora_A.weight"] = (rank, into)
            adapter[f"base_model.model.{prefix}{name}.lora_B.weight"] = (out, rank)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": wide,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "max_position_embeddings": 2048, "vocab_size": VOCAB, "dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "hidden_act": "silu",
    }  # fmt: skip
    lora = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": int(SCALE * rank), "bias": "none"}
    lora["target_modules"] = [name.rpartition(".")[2] for name in linears]
    write_weights(folder / "base" / "model.safetensors", base, "BF16")
    write_weights(folder / "adapter" / "adapter_model.safetensors", adapter, "F32")
    (folder / "base" / "config.json").write_text(json.dumps(config))
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(lora))
    make_tokenizer(folder / "base")


def write_weights(path: Path, shapes: dict[str, tuple[int, ...]], dtype: str) -> None:
    """A safetensors file of random weights, never whole in memory; norms are ones."""
    import torch

    torch.manual_seed(0)
    width = {"BF16": 2, "F32": 4}[dtype]
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + width * shape[0] * (shape[1] if len(shape) > 1 else 1)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for shape in shapes.values():
            values = torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * 0.02
            values = values.bfloat16() if dtype == "BF16" else values
            file.write(memoryview(values.view(torch.uint8).numpy()))


def make_tokenizer(folder: Path) -> None:
    """A small SentencePiece model: the rows it does not fill are padding."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a benchmark needs a tokenizer, any will do"] * 10),
        model_prefix=str(folder / "tokenizer"), model_type="bpe", vocab_size=290, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip


if __name__ == "__main__":
    main()
