"""`trainer fit` beside other training loops, in one run: useful tokens a second, and peak memory.

    python benchmarks/training.py [--sheet AI.xlsx] [--rows 16] [--ways seeds fit …] [--device cpu]

One random Llama (6 layers, width 512, 55,296 words: 76 million weights, f32; on a GPU 22 layers, width 2,048: 1.4
billion, bf16), LoRA of rank 8 on all seven linear layers without dropout. The rows are random tokens; their lengths are
drawn from those of AI.xlsx in tokens of the 55,296-word vocabulary (mean 321, longest 1,267), or from the sheet's own
with `--sheet` and `--vocabulary`. The last three tokens of a row are the answer. Every way trains every row once, in a
process of its own with one thread:

- seeds: the older scripts' loop. transformers' Trainer, batches of 8 in random order, padded to the longest of the
  batch, the loss over all positions.
- positions: the same batches, the loss on the answers alone. What that gains.
- packed: rows packed into sequences of 1,536 tokens, the loss over all positions. What packing gains.
- both: packed, the loss on the answers alone: `trainer fit` with training.packing.
- grouped: batches of 4 rows of like length, the loss on the answers alone: `trainer fit` with training.batch_size = 4.
- fit: one row at a time, the loss on the answers alone: `trainer fit` as its presets have it.
- fit, twice: the same with gradient checkpointing, as the preset formosa has it.
- trl, trl packed: TRL's SFTTrainer, where it is installed: its own batches of 8 padded to the longest, and its packing;
  the loss on the answers. TRL 1.16 keeps to their positions only where it has Triton: on a CPU it computes the output
  matrix at every position, and the entropy and accuracy of each beside.

Useful tokens are those of the rows, without padding. On a CPU seconds are the process's own CPU seconds, of the
training alone, and peak memory is what the process holds beyond the loaded model; on a GPU seconds are those that pass,
and memory is what torch has allocated there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

VOCABULARY = 55_296
SHAPES = {"cpu": (512, 1376, 6, 8), "cuda": (2048, 5632, 22, 32)}
"""Width, width within the MLP, layers and heads of the model."""
CAPACITY, BATCH, ANSWER = 1536, 8, 3
# Lengths of AI.xlsx's 13,550 rows in tokens, at these shares of the rows.
SHARES = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
LENGTHS = (90, 138, 194, 251, 322, 388, 454, 548, 1267)


def main() -> None:
    """Run every way in a child, print the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path, help="take the lengths of this question sheet")
    parser.add_argument("--vocabulary", type=Path, help="the SentencePiece model that counts its tokens")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--device", choices=SHAPES, default="cuda" if has_gpu() else "cpu")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        way, folder = args.child
        print(json.dumps(run_way(way, Path(folder), args.device)))
        return
    lengths = sheet_lengths(args.sheet, args.vocabulary) if args.sheet else None
    with tempfile.TemporaryDirectory() as name:
        rows = [drawn_length(random.Random(row), lengths) for row in range(args.rows)]
        Path(name, "lengths.json").write_text(json.dumps(rows), encoding="utf-8")
        make_base(Path(name, "base"), args.device)
        print(f"`python benchmarks/training.py {' '.join(sys.argv[1:])}`".replace(" `", "`"))
        print(f"\n{machine(args.device)}. {len(rows)} rows, {sum(rows):,} tokens, longest {max(rows):,}.\n")
        found = {}
        for way in args.ways:
            if way.startswith("trl") and importlib.util.find_spec("trl") is None:
                continue
            found[way] = child(way, name, args.device)
            print(f"{way}: {found[way]}", file=sys.stderr)
        print("\n".join(table(found, "CPU s" if args.device == "cpu" else "s")))


def has_gpu() -> bool:
    """Whether torch sees one."""
    import torch

    return torch.cuda.is_available()


def child(way: str, folder: str, device: str) -> dict[str, float]:
    """One way, in a process of its own."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    argv = [sys.executable, __file__, "--child", way, folder, "--device", device]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        sys.exit(f"{way}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[str, dict[str, float]], seconds: str) -> list[str]:
    """Lines of markdown."""
    first = found.get("seeds")
    lines = [
        f"| loop | tokens computed | {seconds} | useful tokens/{seconds} | x seeds "
        "| peak beyond the model, MiB | of seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, one in found.items():
        speed = one["tokens"] / one["seconds"]
        ratios = ["", ""]
        if first:
            ratios = [
                f"{speed / (first['tokens'] / first['seconds']):.1f}x",
                f"{one['peak'] / first['peak']:.0%}",
            ]
        lines.append(
            f"| {way} | {one['computed']:,.0f} | {one['seconds']:.1f} | {speed:.0f} | {ratios[0]} "
            f"| {one['peak'] / 2**20:.0f} | {ratios[1]} |"
        )
    return lines


def machine(device: str) -> str:
    """What this was measured on."""
    import torch

    names = ["torch", "transformers", "peft", *(["trl"] if importlib.util.find_spec("trl") else [])]
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    system = f"Linux {platform.release().partition('-')[0]}"
    if device == "cuda":
        model = f"{torch.cuda.get_device_name()}, {model}"
    return f"{model}, one thread, {system}, Python {platform.python_version()}, {packages}"


def drawn_length(draw: random.Random, lengths: Sequence[int] | None) -> int:
    """The length of one row: of the sheet's, or between the known quantiles."""
    if lengths:
        return draw.choice(lengths)
    share = draw.random()
    at = next(place for place, limit in enumerate(SHARES[1:], 1) if share <= limit)
    within = (share - SHARES[at - 1]) / (SHARES[at] - SHARES[at - 1])
    return round(LENGTHS[at - 1] + within * (LENGTHS[at] - LENGTHS[at - 1]))


def sheet_lengths(sheet: Path, vocabulary: Path | None) -> list[int]:
    """Tokens of every row of a sheet, as `trainer prepare --model` counts them."""
    import sentencepiece

    from configs.exam import label_ids
    from configs.formats import Formats
    from configs.sheets import read_questions
    from trainer.tokenizer import SentencePieceTokenizer

    if vocabulary is None:
        sys.exit("--sheet needs --vocabulary tokenizer.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
    tokenizer = SentencePieceTokenizer(processor, {})
    formats = Formats.load("alpaca2", "formosa")
    assert formats.question is not None
    questions = [row.question for row in read_questions(sheet, need_answers=True).rows if row.question]
    encoded = (label_ids(formats.prompt, formats.question, question, tokenizer) for question in questions)
    return [len(prompt) + len(labels[0]) + 1 for prompt, labels in encoded]


def make_base(folder: Path, device: str) -> None:
    """The random model that all ways train on."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    width, wide, layers, heads = SHAPES[device]
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=width, intermediate_size=wide, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=2048, pad_token_id=0,
        )
    )  # fmt: skip
    model.to(number_type(device)).save_pretrained(folder)


def number_type(device: str) -> Any:
    """What the base's weights are kept in and computed with: what `trainer fit` takes there."""
    import torch

    return torch.float32 if device == "cpu" else torch.bfloat16


def run_way(way: str, folder: Path, device: str) -> dict[str, float]:
    """Load, train, measure."""
    import torch

    torch.manual_seed(0)
    lengths = json.loads((folder / "lengths.json").read_text(encoding="utf-8"))
    rows = [torch.randint(3, VOCABULARY, (length,)).tolist() for length in lengths]
    train, computed = WAYS[way](rows, folder, device)
    seconds, peak = measured_on_cpu(train) if device == "cpu" else measured_on_gpu(train)
    return {"tokens": sum(lengths), "computed": sum(computed) or sum(lengths), "seconds": seconds, "peak": peak}


def measured_on_cpu(train: Callable[[], Any]) -> tuple[float, int]:
    """(CPU seconds, most bytes beyond those that the process had before)."""
    from trainer.memory import peak_resident, resident

    before, start = resident(), time.process_time()
    train()
    return time.process_time() - start, peak_resident() - before


def measured_on_gpu(train: Callable[[], Any]) -> tuple[float, int]:
    """(seconds, most bytes that torch had allocated beyond those it had before)."""
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, start = torch.cuda.memory_allocated(), time.perf_counter()
    train()
    torch.cuda.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated() - before


Way = tuple[Callable[[], Any], list[int]]
"""(what trains all rows once, the tokens of every batch it computed)"""


def fitted(rows: list[list[int]], folder: Path, device: str, **changes: Any) -> Way:
    """`trainer fit`'s own loop."""
    from trainer.examples import Example
    from trainer.fit import training_arguments
    from trainer.job import Job
    from trainer.loop import FitTrainer
    from trainer.model import load_model
    from trainer.order import lay_out
    from trainer.settings import load_settings
    from trainer.work import Reporter

    given = {
        "training.gradient_checkpointing": "false", "training.epochs": 1, "training.accumulation": 1, "lora.rank": 8,
        "lora.alpha": 16, "lora.dropout": 0, "training.group_by_length": "false", "checkpoint.every": 1_000_000,
        "evaluation.every": 1_000_000, **changes,
    }  # fmt: skip
    settings = load_settings("formosa", [f"{key}={value}" for key, value in given.items()], "none")
    work = Path(tempfile.mkdtemp(dir=folder))
    job = Job(
        base=folder / "base", base_name="base", data=folder, output=folder / "a", work=work, init_adapter=None,
        settings=settings, deepspeed=None, processes=1, gpus=() if device == "cpu" else (0,), identity={}, resume=False,
    )  # fmt: skip
    examples = [Example(str(at), ids, ((len(ids) - ANSWER, len(ids)),)) for at, ids in enumerate(rows)]
    order = lay_out([len(ids) for ids in rows], settings.training, job.rows_per_step)
    _, args = training_arguments(job, order.steps)
    model = touched(load_model(job, number_type(device), args.device).to(device))
    trainer = FitTrainer(
        job=job, model=model, args=args, order=order, examples=examples, probes=[], others=[], padding_id=0,
        reporter=Reporter(work),
    )  # fmt: skip
    return trainer.train, counted(trainer)


def plain(rows: list[list[int]], folder: Path, device: str, *, packed: bool) -> Way:
    """transformers' Trainer with its own loss over all positions."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import Trainer, TrainingArguments

    from trainer.batches import Collator
    from trainer.examples import Example
    from trainer.packing import packed_passes

    whole = [Example(str(at), ids, ((1, len(ids)),)) for at, ids in enumerate(rows)]
    collate_packed = Collator(whole, 0)

    def padded(batch: list[list[int]]) -> dict[str, Any]:
        ids = [torch.tensor(row) for row in batch]
        return {
            "input_ids": pad_sequence(ids, batch_first=True),
            "labels": pad_sequence(ids, batch_first=True, padding_value=-100),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        }

    def packs(batch: list[tuple[int, ...]]) -> dict[str, Any]:
        made = collate_packed(batch)
        del made["rows"]
        return made

    lengths = [len(ids) for ids in rows]
    data: list[Any] = next(packed_passes(lengths, CAPACITY, 0)) if packed else rows
    trainer = Trainer(
        model=touched(adapted(folder, device)),
        args=TrainingArguments(
            per_device_train_batch_size=1 if packed else BATCH, remove_unused_columns=False,
            **common_arguments(folder, device),
        ),
        train_dataset=data,
        data_collator=packs if packed else padded,
    )  # fmt: skip
    return trainer.train, counted(trainer)


def trl(rows: list[list[int]], folder: Path, device: str, *, packed: bool) -> Way:
    """TRL's SFTTrainer on the same tokens."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    vocabulary = {f"t{place}": place for place in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="t0")), pad_token="t0", eos_token="t2"
    )
    masks = [[0] * (len(ids) - ANSWER) + [1] * ANSWER for ids in rows]
    data = Dataset.from_dict({"input_ids": rows, "completion_mask": masks})
    trainer = SFTTrainer(
        model=touched(adapted(folder, device)),
        args=SFTConfig(
            per_device_train_batch_size=1 if packed else BATCH, packing=packed, max_length=CAPACITY,
            completion_only_loss=True, gradient_checkpointing=False, **common_arguments(folder, device),
        ),
        train_dataset=data,
        processing_class=tokenizer,
    )  # fmt: skip
    return trainer.train, counted(trainer)


def common_arguments(folder: Path, device: str) -> dict[str, Any]:
    """What the loops of others are told."""
    on_gpu = device == "cuda"
    return {
        "output_dir": str(folder / "out"), "num_train_epochs": 1, "learning_rate": 2e-4, "use_cpu": not on_gpu,
        "save_strategy": "no", "report_to": [], "disable_tqdm": True, "seed": 0, "bf16": on_gpu,
        "dataloader_pin_memory": on_gpu, "logging_strategy": "no",
    }  # fmt: skip


def adapted(folder: Path, device: str) -> Any:
    """The base with the same adapter that `fit` lays over it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from trainer.settings import LINEARS

    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=number_type(device), attn_implementation="sdpa")
    base.config.use_cache = False
    config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0, target_modules=list(LINEARS))
    return get_peft_model(base, config).to(device)


def touched(model: Any) -> Any:
    """The model with every weight read once: they are mapped from their file, and would count as they are used."""
    for parameter in model.parameters():
        parameter.detach().sum()
    return model


def counted(trainer: Any) -> list[int]:
    """Every batch's tokens, padding among them, as they go through the model."""
    sizes: list[int] = []

    def count(_module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        sizes.append(ids.numel())

    trainer.model.register_forward_pre_hook(count, with_kwargs=True)
    return sizes


WAYS: dict[str, Callable[[list[list[int]], Path, str], Way]] = {
    "seeds": lambda rows, folder, device: plain(rows, folder, device, packed=False),
    "positions": lambda rows, folder, device: fitted(rows, folder, device, **{"training.batch_size": BATCH}),
    "packed": lambda rows, folder, device: plain(rows, folder, device, packed=True),
    "both": lambda rows, folder, device: fitted(rows, folder, device, **{"training.packing": "true"}),
    "grouped": lambda rows, folder, device: fitted(
        rows, folder, device, **{"training.batch_size": 4, "training.group_by_length": "true"}
    ),
    "fit": fitted,
    "fit, twice": lambda rows, folder, device: fitted(
        rows, folder, device, **{"training.gradient_checkpointing": "true"}
    ),
    "trl": lambda rows, folder, device: trl(rows, folder, device, packed=False),
    "trl packed": lambda rows, folder, device: trl(rows, folder, device, packed=True),
}


if __name__ == "__main__":
    main()
