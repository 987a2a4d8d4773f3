"""`runtime predict` beside what else answers a sheet on a CPU, in one run.

    python benchmarks/predict.py [--sheets ../shared/data/formosa] [--vocabulary tokenizer.model] [--work FOLDER]

The model is random: a Llama of 0.4 billion weights with the vocabulary's own size, made into q4_0 by `exporter merge`.
Speed does not depend on what the weights are; answers are chance. Sheets: a made-up one of 4 questions on each passage
of some 600 tokens, no two after each other on the same, and a fixed random part of each real one (whole passages, so
that rows share as much as they do in the whole sheet). Every way runs in a process of its own with one thread and has
the same prompts:

- predict: the command's whole work but for loading the model: reading, tokenizing, journal, CSV.
- bare loop: nothing but llama_decode over the same tree of tokens.
- naive: `llama_cpp.Llama.create_completion(prompt, max_tokens=1)`, one question after the other as the sheet has them.
- cyclic: predict --debias cyclic, so four prompts a question.
- transformers: one forward pass a question in f32, of the first questions only.
- lm-eval: its loglikelihood of the four labels, f32 too, where it is installed; of the first questions only.

CPU seconds are the process's own, so other work on the machine changes them little; wall time is not shown.
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HIDDEN, WIDE, LAYERS, HEADS = 1024, 2816, 24, 16
CONTEXT = 2048
FEW = 2  # questions of the slow ways


def main() -> None:
    """Make the model and the sheets, run every way on every sheet, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheets", type=Path, default=ROOT.parent / "shared" / "data" / "formosa")
    parser.add_argument(
        "--vocabulary", type=Path, help="a SentencePiece model (default: the real one, else a tiny one)"
    )
    parser.add_argument("--work", type=Path, help="where to make the model, and keep it")
    parser.add_argument("--rows", type=int, default=40, help="of each real sheet")
    parser.add_argument("--passages", type=int, default=4, help="of the made-up sheet, with 4 questions each")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        way, *words = args.child
        print(json.dumps(WAYS[way](*map(Path, words))))
        return
    with tempfile.TemporaryDirectory() as name:
        work = args.work or Path(name)
        base, model = make_model(work, args.vocabulary)
        print(f"`python benchmarks/predict.py {' '.join(sys.argv[1:])}`\n\n{machine()}\n")
        print(f"{model.stat().st_size / 1e6:.0f} MB q4_0, {sum_of_weights(model) / 1e6:.0f} million weights. ", end="")
        print(f"Load average before the first way: {os.getloadavg()[0]:.1f}.\n")
        for title, sheet in sheets(args, Path(name)):
            compare(title, sheet, base, model, Path(name))


def compare(title: str, sheet: Path, base: Path, model: Path, work: Path) -> None:
    """One sheet: every way, a table and the ratios."""
    found = {}
    for way in WAYS:
        output = work / f"{sheet.stem}.{way}.csv"
        words = [way, sheet, base if way in ("transformers", "lm-eval") else model, output]
        argv = [sys.executable, __file__, "--child", *map(str, words)]
        done = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        if done.returncode == 0 and done.stdout.strip():
            found[way] = json.loads(done.stdout.splitlines()[-1])
        else:
            sys.stderr.write(f"{way}: {done.stderr.strip().splitlines()[-1:]}\n")
    rows = found["predict"]["questions"]
    print(f"### {title}\n\n{rows} questions, {found['naive']['tokens']} tokens of prompts, "
          f"{found['bare loop']['tokens']} where what they share is counted once.\n")  # fmt: skip
    print("| way | questions | CPU s | CPU s a question | questions/CPU s | peak RSS MB |\n|---|---|---|---|---|---|")
    for way, one in found.items():
        print(f"| {way} | {one['questions']} | {one['cpu']:.2f} | {one['cpu'] / one['questions']:.3f} | "
              f"{one['questions'] / one['cpu']:.2f} | {one['rss'] / 1e6:.0f} |", flush=True)  # fmt: skip
    cpu = {way: one["cpu"] / one["questions"] for way, one in found.items()}
    prefill, bare = found["bare loop"]["prefill"], found["bare loop"]
    print(f"\npredict is {cpu['naive'] / cpu['predict']:.2f}x the naive loop and "
          f"{cpu['bare loop'] / cpu['predict']:.1%} of the bare loop; four cyclic orders take "
          f"{cpu['cyclic'] / cpu['naive']:.2f}x one naive pass.")  # fmt: skip
    print(f"Raw prefill of 512 tokens: {prefill:.0f} tokens/CPU s; the bare loop: {bare['tokens'] / bare['cpu']:.0f}.")
    room = found["predict"]["rss"] - found["predict"]["budget"]
    print(f"Peak RSS of predict: {found['predict']['rss'] / 1e6:.0f} MB = file + repacked copy + cache "
          f"({found['predict']['budget'] / 1e6:.0f} MB) + {room / 1e6:.0f} MB.\n", flush=True)  # fmt: skip


def run_predict(sheet: Path, model: Path, output: Path, debias: str = "none") -> dict[str, Any]:
    """The command, with the time of loading taken off."""
    from runtime.batch import PredictSettings
    from runtime.bench import peak_memory, predict_cost

    cost, questions = predict_cost(PredictSettings(sheet, output, options(model), debias=debias))
    return {"questions": questions, "cpu": cost.cpu, "rss": peak_memory(), "budget": budget(model, sheet)}


def run_bare(sheet: Path, model: Path, _output: Path) -> dict[str, Any]:
    """llama_decode and nothing else."""
    from runtime.bench import bare_costs, peak_memory

    costs = bare_costs(options(model), sheet)
    return {"questions": len(questions_of(sheet)), "cpu": costs.walk.cpu, "tokens": costs.walk.tokens,
            "prefill": costs.prefill.per_cpu_second, "rss": peak_memory()}  # fmt: skip


def run_naive(sheet: Path, model: Path, _output: Path) -> dict[str, Any]:
    """One completion of one token a question."""
    import llama_cpp

    from runtime.bench import peak_memory

    prompts = prompts_of(sheet, model)
    llama = llama_cpp.Llama(str(model), n_ctx=CONTEXT, n_threads=1, n_threads_batch=1, verbose=False)
    began = time.process_time()
    for prompt in prompts:
        llama.create_completion(prompt, max_tokens=1, temperature=0.2)
    return {"questions": len(prompts), "cpu": time.process_time() - began, "tokens": sum(map(len, prompts)),
            "rss": peak_memory()}  # fmt: skip


def run_transformers(sheet: Path, base: Path, _output: Path) -> dict[str, Any]:
    """One forward pass a question; the labels after their common start."""
    import torch
    from transformers import AutoModelForCausalLM

    from runtime.bench import peak_memory

    torch.set_num_threads(1)
    prompts = prompts_of(sheet, base.parent / "model.gguf")[:FEW]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    began = time.process_time()
    with torch.no_grad():
        for prompt in prompts:
            torch.log_softmax(model(torch.tensor([prompt]), logits_to_keep=1).logits[0, -1], -1)
    return {"questions": len(prompts), "cpu": time.process_time() - began, "rss": peak_memory()}


def run_lm_eval(sheet: Path, base: Path, _output: Path) -> dict[str, Any]:
    """`HFLM.loglikelihood` of the four labels, as its multiple-choice tasks ask for them."""
    if importlib.util.find_spec("lm_eval") is None:
        raise SystemExit("lm-eval is not installed")
    import torch
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from runtime.bench import peak_memory

    torch.set_num_threads(1)
    prompts = prompts_of(sheet, base.parent / "model.gguf")[:FEW]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    words = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))  # never asked: the prompts are token ids
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<unk>", pad_token="<unk>")
    harness = HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", batch_size=1)
    requests = [(("", ""), prompt, [29871, 29896 + place]) for prompt in prompts for place in range(4)]
    began = time.process_time()
    harness._loglikelihood_tokens(requests, disable_tqdm=True)
    return {"questions": len(prompts), "cpu": time.process_time() - began, "rss": peak_memory()}


WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    "predict": run_predict,
    "bare loop": run_bare,
    "naive": run_naive,
    "cyclic": lambda *words: run_predict(*words, debias="cyclic"),
    "transformers": run_transformers,
    "lm-eval": run_lm_eval,
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def options(model: Path) -> Any:
    """One thread, so that CPU seconds are the same however busy the machine is."""
    from runtime.interface import ModelOptions

    return ModelOptions(model, threads=1, gpu_layers=0)


def prompts_of(sheet: Path, model: Path) -> list[list[int]]:
    """Token ids of every question's prompt, in the order of the sheet."""
    from runtime.answering import Asker
    from runtime.llama_bench import BareLlama
    from runtime.models import plan_model

    plan = plan_model(options(model))
    assert plan.formats.question is not None
    bare = BareLlama(plan)
    asker = Asker(plan.formats, plan.formats.question, bare.model.vocabulary)
    prompts = [list(asker.requests(question, shared=False)[0].prompt) for question in questions_of(sheet)]
    bare.close()
    return prompts


def questions_of(sheet: Path) -> list[Any]:
    """The questions of a sheet."""
    from configs.sheets import read_questions

    return [row.question for row in read_questions(sheet, need_answers=False).rows if row.question]


def budget(model: Path, sheet: Path) -> int:
    """Bytes of the file, of the copy of its q4_0 matrices that llama.cpp repacks, and of the cache for this sheet."""
    from math import prod

    from runtime.gguf_header import read_header

    header = read_header(model)
    blocks = [tensor.size_bytes for name, tensor in header.entries.items()
              if name != "token_embd.weight" and tensor.size_bytes * 16 == 9 * prod(tensor.shape)]  # fmt: skip
    cells = -(-(max(map(len, prompts_of(sheet, model))) + 2) // 256) * 256
    return header.size_bytes + sum(blocks) + cells * LAYERS * HIDDEN * 2 * 2


def sum_of_weights(model: Path) -> int:
    """Number of weights."""
    from math import prod

    from runtime.gguf_header import read_header

    return sum(prod(tensor.shape) for tensor in read_header(model).entries.values())


def sheets(args: argparse.Namespace, work: Path) -> list[tuple[str, Path]]:
    """(title, path) of every sheet."""
    from runtime.bench import write_sheet

    made = [("4 questions on each passage of some 600 tokens", work / "made-up.csv")]
    write_sheet(made[0][1], synthetic(args.passages))
    for name in ("AI1000.xlsx", "AI.xlsx"):
        if (args.sheets / name).is_file():
            path = work / f"{Path(name).stem}.csv"
            write_sheet(path, part_of(questions_of(args.sheets / name), args.rows))
            made.append((f"A part of {name}", path))
    return made


def synthetic(passages: int) -> list[Any]:
    """Long passages of common characters and four questions on each, taken in turn."""
    from configs.exam import Question

    draw = random.Random(0)
    characters = "的一是不了人我在有他這中大來上個國到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可"

    def text(length: int) -> str:
        return "".join(draw.choices(characters, k=length))

    found = []
    for _ in range(passages):
        passage = "，".join(text(14) for _ in range(37)) + "。"
        found += [Question(passage, text(20) + "？", tuple(text(10) for _ in range(4))) for _ in range(4)]
    return [found[4 * passage + number] for number in range(4) for passage in range(passages)]


def part_of(questions: Sequence[Any], rows: int) -> list[Any]:
    """All questions of random passages, some `rows` of them, in the order of the sheet."""
    passages = list(dict.fromkeys(question.passage for question in questions))
    random.Random(0).shuffle(passages)
    counts: dict[str, int] = {}
    for question in questions:
        counts[question.passage] = counts.get(question.passage, 0) + 1
    taken: set[str] = set()
    for passage in passages:
        if sum(counts[one] for one in taken) >= rows:
            break
        taken.add(passage)
    return [question for question in questions if question.passage in taken and len(question.choices) == 4]


def make_model(folder: Path, vocabulary: Path | None) -> tuple[Path, Path]:
    """(base folder, q4_0 file) of a random Llama; kept ones are used again."""
    sys.path.insert(0, str(ROOT))
    base, model = folder / "base", folder / "model.gguf"
    if not model.exists():
        real = ROOT.parent / "shared" / "data" / "tokenizer" / "llama2-zh-55296.model"
        code = (
            "import sys; from pathlib import Path; from tests import tiny; v = sys.argv[2]; "
            f"tiny.base(Path(sys.argv[1]), hidden={HIDDEN}, layers={LAYERS}, heads={HEADS}, kv_heads={HEADS}, "
            f"intermediate={WIDE}, dtype='bfloat16', vocab_model=Path(v) if v else None)"
        )
        chosen = vocabulary or (real if real.is_file() else "")
        subprocess.run([sys.executable, "-c", code, str(base), str(chosen)], check=True, env=ENVIRONMENT)
        words = ["merge", "--base", base, "--format", "gguf", "--type", "q4_0", "--output", model]
        subprocess.run([sys.executable, "-m", "exporter.cli", *map(str, words)], check=True, env=ENVIRONMENT)
    return base, model


def machine() -> str:
    """What this was measured on."""
    import importlib.metadata

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = {line.split(":")[1].strip() for line in lines if "model name" in line}
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("llama-cpp-python", "torch", "transformers")]
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    return (
        f"{', '.join(models) or platform.machine()}, {os.cpu_count()} cores, {system}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


if __name__ == "__main__":
    main()
