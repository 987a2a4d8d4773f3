"""The whole road in one command: a question sheet becomes a trained, merged, quantized model that answers it.

    python examples/demo/run.py out/demo

Making the base model and the sheets is this folder's own work; everything after goes through the four public commands,
each printed before it runs. Steps whose result stands already are not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent

# Every step of the demo is bound by tiny matrices: one thread is fastest, and makes every run the same.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much the demo trains."""

    base_steps: int
    lora_steps: int
    training_rows: int


FULL = Size(base_steps=900, lora_steps=600, training_rows=6_000)
# Walks the same road in two minutes; its models learn next to nothing.
QUICK = Size(base_steps=40, lora_steps=12, training_rows=400)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    model: str
    accuracy: float
    size_bytes: int
    questions_per_s: float


def main() -> int:
    """Walk the road and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="walk the road with next to no training")
    args = parser.parse_args()
    out: Path = args.output
    try:
        rows = walk(out, QUICK if args.quick else FULL, args.seed, quick=args.quick)
    except subprocess.CalledProcessError as error:
        print(f"demo: step failed with exit code {error.returncode}: {shown(error.cmd)}", file=sys.stderr)
        return 1
    write_summary(out, rows)
    print(report(out, rows, quick=args.quick))
    return 0


def walk(out: Path, size: Size, seed: int, *, quick: bool) -> list[Row]:
    """Sheets, base, adapter, GGUFs and answers; returns the table's rows."""
    make_world(out, size, seed)
    held_out = out / "held-out.xlsx"
    call("trainer", "prepare", out / "training.xlsx", "--output", out / "data", "--validation", "0.05")
    call(
        "trainer", "fit", "--model", out / "base", "--data", out / "data", "--output", out / "adapter",
        "--preset", "formosa", *settings(size, seed),
    )  # fmt: skip
    merge = ("exporter", "merge", "--base", out / "base", "--format", "gguf")
    call(*merge, "--type", "f16", "--output", out / "model-base.gguf")
    call(*merge, "--adapter", out / "adapter", "--type", "f16", "--output", out / "model-f16.gguf")
    call(*merge, "--adapter", out / "adapter", "--type", "q4_0", "--output", out / "model-q4_0.gguf")
    call("exporter", "adapter", "--adapter", out / "adapter", "--base", out / "base", "--output", out / "adapter.gguf")
    base, adapter = out / "model-base.gguf", out / "adapter.gguf"
    answers = out / "answers"
    return [
        answered("base", held_out, answers / "base.csv", base),
        answered("adapter", held_out, answers / "adapter.csv", base, adapter),
        answered("f16", held_out, answers / "f16.csv", out / "model-f16.gguf"),
        answered("q4_0", held_out, out / "answers.csv", out / "model-q4_0.gguf"),
    ]


def settings(size: Size, seed: int) -> list[str]:
    """Overrides of the training preset: what a model of 0.8 M parameters needs, and no 7 B model does."""
    values = {
        "lora.rank": 16,
        "lora.alpha": 32,
        "lora.dropout": 0.0,
        "training.steps": size.lora_steps,
        "training.batch_size": 24,
        "training.accumulation": 1,
        "training.learning_rate": 3e-3,
        "training.warmup": 20,
        "training.gradient_checkpointing": "false",
        "training.seed": seed,
        "evaluation.every": max(1, size.lora_steps // 3),
        "evaluation.rows": 200,
    }
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def make_world(out: Path, size: Size, seed: int) -> None:
    """Make sheets and base model, unless those of this seed and size stand already."""
    mark = out / "demo.json"
    wanted = {**asdict(size), "seed": seed}
    if mark.is_file() and json.loads(mark.read_text()) == {**wanted, "made": True}:
        print("demo: sheets and base model stand already")
        return
    if mark.is_file():
        # Another seed or size: everything in the folder came from the old base.
        shutil.rmtree(out)
    elif out.exists() and any(out.iterdir()):
        raise SystemExit(f"demo: {out} holds other things; name an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(wanted))
    sys.path.insert(0, str(HERE))
    from sheets import write_sheets

    held_out = write_sheets(out / "training.xlsx", out / "held-out.xlsx", seed=seed, rows=size.training_rows)
    print(f"demo: made {size.training_rows:,} training questions and held out {len(held_out)} passages")
    pretrain = [HERE / "pretrain.py", out / "base", out / "held-out.xlsx", "--seed", seed, "--steps", size.base_steps]
    run([sys.executable, *map(str, pretrain)])
    mark.write_text(json.dumps({**wanted, "made": True}))


def answered(model: str, sheet: Path, output: Path, gguf: Path, adapter: Path | None = None) -> Row:
    """Answer the held-out sheet and read accuracy and speed off the commands' JSON."""
    plugged = ("--adapter", adapter) if adapter else ()
    # Computed anew each time, so that the speed in the table was measured now.
    found = json.loads(
        call(
            "runtime",
            "predict",
            sheet,
            "--model",
            gguf,
            *plugged,
            "--output",
            output,
            "--threads",
            1,
            "--restart",
            "--json",
        )
    )
    size = gguf.stat().st_size + (adapter.stat().st_size if adapter else 0)
    return Row(model, found["accuracy"], size, found["computed"] / found["seconds"])


def call(*words: object) -> str:
    """Run one of the four commands; its narration goes to stderr, its result is returned."""
    command = [str(word) for word in words]
    print(f"\n$ {shown(command)}", flush=True)
    return run([str(BIN / command[0]), *command[1:]], capture=True)


def run(command: list[str], *, capture: bool = False) -> str:
    """Run a program to its end; its stdout is returned if captured."""
    done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE if capture else None, text=True, check=True)
    return done.stdout or ""


def shown(command: list[str]) -> str:
    """A command as one would type it in the repository's folder."""
    return " ".join(os.path.relpath(word) if os.path.isabs(word) else word for word in command)


def write_summary(out: Path, rows: list[Row]) -> None:
    """Leave the table for programs."""
    partial = out / "summary.json.partial"
    partial.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    partial.replace(out / "summary.json")


def report(out: Path, rows: list[Row], *, quick: bool) -> str:
    """The table, the paths, and what the model can and cannot say."""
    lines = ["", "model     accuracy   size       questions/s", "-------   --------   --------   -----------"]
    lines += [
        f"{row.model:<9} {row.accuracy:>7.1%}   {row.size_bytes / 1e6:>5.2f} MB   {row.questions_per_s:>8.0f}"
        for row in rows
    ]
    made = {
        "held-out.xlsx": "400 questions that training never saw (labels 1-4, balanced)",
        "answers.csv": "the q4_0 model's answers to them",
        "base/": "the base model, Hugging Face layout",
        "adapter/": "the LoRA adapter, PEFT layout",
        "model-base.gguf": "the base model, f16",
        "adapter.gguf": "the adapter alone, to plug into model-base.gguf",
        "model-f16.gguf": "base and adapter merged, f16",
        "model-q4_0.gguf": "base and adapter merged and quantized in one pass",
        "summary.json": "this table for programs",
    }
    lines += ["", f"In {out}:"] + [f"  {name:<17} {what}" for name, what in made.items()]
    lines += [
        "",
        "Chat with it (a passage and a question, in one line):",
        f"  {os.path.relpath(BIN)}/tui chat --model {out}/model-base.gguf",
        "  欣怡在秋天出生,養了小貓。欣怡住在台北,每天喝咖啡。欣怡養了什麼動物?",
        "",
        "These models know 24 people, 48 words and nothing else. The base answers a question on a passage in words (小貓), but not",
        "an exam's; the tuned one (model-q4_0.gguf) has learnt to answer the exam, and answers everything with the number of an",
        "option. Real models take the same road: see the README.",
    ]
    if quick:
        lines += ["", "Quick form: the road is the same, but nothing was trained long enough to answer above chance."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
