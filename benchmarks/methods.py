"""Every way of training on the demo's task: held-out accuracy with its interval, one fit a line.

    python benchmarks/methods.py out/methods > benchmarks/methods.txt

The demo's base and sheets are made first (examples/demo), then every method trains an adapter, or a model, with the
demo's settings and what is named here. Its f16 GGUF answers the held-out sheet; adapters of a quantized base are merged
as they were trained. Outputs that stand are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "demo"))

import run as demo


@dataclass(frozen=True)
class Method:
    """One line: its words for `trainer fit` beyond the demo's, and for `exporter merge`."""

    name: str
    fit: tuple[str, ...] = ()
    merge: tuple[str, ...] = ()


METHODS = (
    Method("LoRA, zero2"),
    Method("LoRA, zero3-offload", ("--deepspeed", "zero3-offload")),
    Method("QLoRA 4-bit, zero2", ("--set", "model.load_in=4"), ("--as-trained",)),
    Method("QLoRA 8-bit, zero2", ("--set", "model.load_in=8"), ("--as-trained",)),
    Method("rsLoRA", ("--set", "lora.rslora=true", "--set", "lora.alpha=8")),
    Method("DoRA", ("--set", "lora.dora=true")),
    Method("LoRA+ 4", ("--set", "lora.plus_ratio=4", "--set", "training.learning_rate=1.5e-3")),
    Method("full", ("--set", "training.method=full", "--set", "training.learning_rate=1e-3")),
)


def main() -> int:
    """Train, answer, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--quick", action="store_true", help="walk the road with next to no training")
    args = parser.parse_args()
    out: Path = args.output
    size = demo.QUICK if args.quick else demo.FULL
    console = os.dup(1)
    os.dup2(2, 1)  # what the demo tells on its way is no part of the table
    demo.make_world(out, size, seed=0)
    demo.call(
        "trainer", "prepare", out / "training.xlsx", "--output", out / "data", "--validation", "0.05"
    )  # fmt: skip
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, one thread, Python {platform.python_version()}; seed 0, "
        f"{size.lora_steps} steps of 24 rows",
        "",
        f"{'method':<22} {'held-out accuracy':>17} {'95 % interval':>17}",
    ]
    for number, method in enumerate(METHODS):
        lines.append(measured(out, method, number, size))
    os.dup2(console, 1)
    print("\n".join(lines))
    return 0


def measured(out: Path, method: Method, number: int, size: demo.Size) -> str:
    """Train one method, answer the held-out sheet, and tell the result in a line."""
    trained, gguf, answers = out / f"trained-{number}", out / f"model-{number}.gguf", out / f"answers-{number}.csv"
    demo.call(
        "trainer", "fit", "--model", out / "base", "--data", out / "data", "--output", trained, "--preset", "formosa",
        *demo.settings(size, 0), "--set", "training.shuffle_options=false", *method.fit,
    )  # fmt: skip
    is_adapter = (trained / "adapter_config.json").is_file()
    source = ("--base", out / "base", "--adapter", trained) if is_adapter else ("--base", trained)
    demo.call("exporter", "merge", *source, "--format", "gguf", "--type", "f16", *method.merge, "--output", gguf)
    demo.call("runtime", "predict", out / "held-out.xlsx", "--model", gguf, "--output", answers, "--threads", 1)
    found = json.loads(demo.call("runtime", "evaluate", answers, "--sheet", out / "held-out.xlsx", "--json"))
    low, high = found["interval"]
    return f"{method.name:<22} {found['accuracy']:>17.1%} {f'{low:.1%} - {high:.1%}':>17}"


if __name__ == "__main__":
    sys.exit(main())
