"""What a GPU makes of `runtime`: the layers it takes, the speed of packs, and that a rerun has the same bytes.

    python benchmarks/gpu.py --vocabulary tokenizer.model --sheet AI1000.xlsx [--rows 400] [--threads 8]

The model is random: 7 billion weights in q4_0, all layers alike, with the vocabulary given. Prints a table in Markdown
for docs/gpu.md. Memory is what the driver says of the whole device. Needs a llama-cpp-python built with CUDA, and torch
with CUDA to take memory away.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from configs.sheets import read_questions
from runtime.batch import PredictRun, PredictSettings
from runtime.bench import bare_costs, write_sheet
from runtime.engine import ModelOptions, Sampling, ScoreRequest, load_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

PATHS = os.pathsep.join([str(Path(__file__).parent), *sys.path])
MAKE_MODEL = """
import sys
from pathlib import Path
from configs.formats import Formats
from random_model import SEVEN_B, write_model
write_model(Path(sys.argv[1]), Path(sys.argv[2]), SEVEN_B, Formats.load("alpaca2", "formosa"))
"""
TAKE_MEMORY = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(int(free - float(sys.argv[1]) * 1e9), dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""
NAIVE_ROWS = 100
CPU_ROWS = 8


def main() -> None:
    """Every figure in one run."""
    if sys.argv[1:2] == ["--processor"]:
        model, few, threads = sys.argv[2:]
        settings = PredictSettings(
            Path(few), Path(few).with_suffix(".cpu.csv"), ModelOptions(Path(model), threads=int(threads))
        )
        print(predict(settings)[0])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=400, help="of the sheet, from its start")
    parser.add_argument("--threads", type=int, default=8)
    args = parser.parse_args()
    print(f"`python {' '.join(sys.argv)}`\n\n{machine()}\n\n| what | figure |\n|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "7b.gguf"
        in_child(MAKE_MODEL, str(model), str(args.vocabulary))
        show("model file, 7 billion weights", f"{model.stat().st_size / 1e9:.2f} GB")
        options = ModelOptions(model, threads=args.threads)
        measure_fit(options)
        measure_predict(options, args.sheet, args.rows, folder)
        measure_engine(options)


def measure_fit(options: ModelOptions) -> None:
    """What `--gpu-layers auto` says, and what it then takes; with all the memory, and with little."""
    for left in (None, 4.0, 2.0, 1.0):
        with taken_but(left):
            before = used_bytes()
            engine = load_engine(options)
            engine.reserve(2048)
            engine.score([ScoreRequest(tuple(ids(600, 0)), ((300,), (301,)))])  # so that every buffer is made
            peak = used_bytes() - before
            note = next(note for note in engine.notes if note.startswith("GPU"))
            engine.close()
        room = "all memory" if left is None else f"{left:.0f} GB"
        show(f"`--gpu-layers auto` with {room} free", f"{note.partition(': ')[2]}; {peak / 1e9:.2f} GB taken")


def measure_predict(options: ModelOptions, sheet: Path, rows: int, folder: Path) -> None:
    """The command's work without loading, in packs and one question at a time, beside a bare loop and a naive one."""
    questions = [row.question for row in read_questions(sheet, need_answers=False).rows if row.question][:rows]
    part, few = folder / "part.csv", folder / "few.csv"
    write_sheet(part, questions)
    write_sheet(few, questions[:CPU_ROWS])
    speeds, sums = {}, {}
    for name, pack in (("in packs of 512 tokens", 0), ("the same again", 0), ("one question at a time", 1)):
        settings = PredictSettings(part, folder / f"{name}.csv", replace(options, pack_tokens=pack), columns="full")
        speeds[name], sums[name] = predict(settings)
        show(f"predict, {rows} rows, {name}", f"{speeds[name]:.1f} questions/s")
    same = sums["the same again"] == sums["in packs of 512 tokens"]
    show("the two runs in packs have the same bytes", "yes" if same else "NO")
    settings = PredictSettings(part, folder / "cut.csv", options, columns="full")
    events = iter(PredictRun(settings))
    while next(events).done < rows // 3:
        pass
    events.close()
    _, cut = predict(settings)
    show("cut off after a third and resumed: the same bytes", "yes" if cut == sums["the same again"] else "NO")
    bare = bare_costs(options, part)
    show(
        "bare llama_decode loop over the same tree, one question at a time", f"{rows / bare.walk.wall:.1f} questions/s"
    )
    show("prefill of 512 tokens, alone", f"{bare.prefill.per_second:.0f} tokens/s")
    show("generation, one reply", f"{bare.generation.per_second:.0f} tokens/s")
    naive = naive_speed(options, part)
    show(f"naive `create_completion` loop, {NAIVE_ROWS} rows", f"{naive:.1f} questions/s")
    show("predict in packs, times naive", f"{speeds['in packs of 512 tokens'] / naive:.2f}")
    cpu = PredictSettings(few, folder / "cpu.csv", replace(options, gpu_layers=0), columns="full")
    show(
        f"predict on {options.threads} threads of the processor, {CPU_ROWS} rows", f"{predict(cpu)[0]:.2f} questions/s"
    )


def measure_engine(options: ModelOptions) -> None:
    """Replies at once, and how soon a cancelled prompt ends."""
    engine = load_engine(replace(options, parallel=8, ctx_size=4096))
    for count in (1, 4, 8):
        start = time.perf_counter()
        streams = [engine.submit(ids(20, n), Sampling(seed=n, max_tokens=100, temperature=1.0)) for n in range(count)]
        for stream in streams:
            list(stream)
        written = sum(stream.tokens for stream in streams)
        show(f"{count} replies at once", f"{written / (time.perf_counter() - start):.0f} tokens/s together")
    waits = []
    for number in range(20):
        stream = engine.submit(ids(3500, number), Sampling(seed=1))
        time.sleep(random.Random(number).uniform(0.0, 0.2))
        start = time.perf_counter()
        stream.cancel()
        list(stream)
        waits.append(time.perf_counter() - start)
    engine.close()
    show("cancel inside a prompt of 3,500 tokens, longest of 20", f"{max(waits) * 1e3:.0f} ms")


def predict(settings: PredictSettings) -> tuple[float, str]:
    """(questions a second without loading, hash of the CSV)."""
    run = PredictRun(settings)
    for _ in run:
        pass
    assert run.summary is not None
    digest = hashlib.sha256(settings.output.read_bytes()).hexdigest()
    return (run.summary.computed / run.seconds if run.seconds else 0.0), digest


def processor_speed(options: ModelOptions, sheet: Path) -> float:
    """Questions a second of `predict` in a process that sees no GPU."""
    words = [sys.executable, __file__, "--processor", str(options.model), str(sheet), str(options.threads)]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return float(subprocess.run(words, capture_output=True, text=True, check=True, env=hidden).stdout)


def naive_speed(options: ModelOptions, sheet: Path) -> float:
    """Questions a second of llama-cpp-python's own class, every layer on the GPU."""
    import llama_cpp

    from runtime.answering import Asker
    from runtime.llama_bench import BareLlama
    from runtime.models import plan_model

    plan = plan_model(options)
    assert plan.formats.question is not None
    bare = BareLlama(plan)
    asker = Asker(plan.formats, plan.formats.question, bare.model.vocabulary)
    questions = [row.question for row in read_questions(sheet, need_answers=False).rows if row.question]
    prompts = [list(asker.requests(question, shared=False)[0].prompt) for question in questions[:NAIVE_ROWS]]
    bare.close()
    llama = llama_cpp.Llama(str(options.model), n_ctx=2048, n_gpu_layers=-1, verbose=False)
    llama.create_completion(prompts[-1], max_tokens=1)
    start = time.perf_counter()
    for prompt in prompts:
        llama.create_completion(prompt, max_tokens=1, temperature=0.2)
    speed = len(prompts) / (time.perf_counter() - start)
    llama.close()
    return speed


def ids(length: int, seed: int) -> list[int]:
    """Random tokens after the begin token."""
    draw = random.Random(seed)
    return [1, *(draw.randrange(300, 20_000) for _ in range(length - 1))]


@contextmanager
def taken_but(gigabytes: float | None) -> Iterator[None]:
    """All but so much of the device's memory taken, by torch in a child, for as long as the block lasts."""
    if gigabytes is None:
        yield
        return
    words = [sys.executable, "-c", TAKE_MEMORY, str(gigabytes)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        yield
        holder.stdin.close()


def in_child(code: str, *words: str) -> None:
    """Run Python code in a process of its own: other makers' C++ libraries need not agree with llama.cpp in one."""
    subprocess.run([sys.executable, "-c", code, *words], check=True, env=os.environ | {"PYTHONPATH": PATHS})


def used_bytes() -> int:
    """Memory in use on the first device, by the driver."""
    words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]) << 20


def show(what: str, figure: str) -> None:
    """One row of the table."""
    print(f"| {what} | {figure} |", flush=True)


def machine() -> str:
    """What this was measured on."""
    import importlib.metadata

    words = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    gpu = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    version = importlib.metadata.version("torch")
    return f"{gpu}; {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, torch {version}"


if __name__ == "__main__":
    main()
