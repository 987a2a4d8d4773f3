"""What the engine's scheduler is like to sit in front of: cancelling, waiting for others, long chats, loading.

    python benchmarks/engine.py --vocabulary tokenizer.model [--threads 1] [--turns 300]

The model is random: 0.3 billion weights in q4_0 (24 layers of 1,024, feed-forward 2,816, 16 heads), with the vocabulary
given. Prints a table in Markdown for docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path

from random_model import SMALL, write_model

from runtime.chat import ChatSession
from runtime.engine import Engine, ModelOptions, Sampling, load_engine

PROMPT, CONTEXT = 1400, 2048
CANCELS = 20
SAMPLING = Sampling(temperature=1.0, top_k=0, top_p=1.0, repeat_penalty=1.0, max_tokens=10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=Path, required=True, help="a SentencePiece tokenizer.model")
    parser.add_argument("--threads", type=int, default=0, help="default: physical cores")
    parser.add_argument("--turns", type=int, default=300)
    args = parser.parse_args()
    print(f"`python {' '.join(sys.argv)}`\n\n{machine()}\n\n| what | figure |\n|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = write_model(Path(folder) / "random.gguf", args.vocabulary, SMALL)
        show("model file", f"{path.stat().st_size / 1e6:.0f} MB")
        measure_load(path, args.threads)
        options = ModelOptions(path, prompt_format="alpaca2", ctx_size=CONTEXT, threads=args.threads, parallel=4)
        engine = load_engine(options)
        measure_cancel(engine)
        measure_gaps(engine)
        measure_speed(engine)
        engine.close()
        measure_chat(path, args.threads, args.turns)


def measure_load(path: Path, threads: int) -> None:
    """With and without the child that tries the file first."""
    from runtime.llama_trial import try_model
    from runtime.models import plan_model

    start = time.perf_counter()
    try_model(plan_model(ModelOptions(path, prompt_format="alpaca2")))
    tried = time.perf_counter() - start
    start = time.perf_counter()
    load_engine(ModelOptions(path, prompt_format="alpaca2", threads=threads)).close()
    show("load, file tried in a child first", f"{time.perf_counter() - start:.2f} s, of which the child {tried:.2f} s")


def measure_cancel(engine: Engine) -> None:
    """From `cancel` to the end of the stream, at random moments of a prefill."""
    stream = engine.submit(prompt(0), SAMPLING)
    next(iter(stream))
    stream.cancel()
    list(stream)
    show(f"prefill of {PROMPT:,} tokens", f"{stream.prompt_seconds:.2f} s")
    draw = random.Random(0)
    waits = []
    for number in range(1, CANCELS + 1):
        victim = engine.submit(prompt(number), SAMPLING)
        time.sleep(draw.uniform(0.02, 0.9) * stream.prompt_seconds)
        start = time.perf_counter()
        victim.cancel()
        list(victim)
        waits.append(time.perf_counter() - start)
        assert victim.tokens == 0, "the prompt was read before it was cancelled"
    show(
        f"cancel inside it, {CANCELS} times",
        f"median {statistics.median(waits) * 1e3:.0f} ms, longest {max(waits) * 1e3:.0f} ms",
    )


def measure_gaps(engine: Engine) -> None:
    """Two replies are being written when a long prompt arrives: how long do they stand still?"""
    writers = [Writer(engine, 100 + number) for number in range(2)]
    while any(len(writer.times) < 10 for writer in writers):
        time.sleep(0.01)
    begin = time.perf_counter()
    reader = engine.submit(prompt(200), SAMPLING)
    next(iter(reader))
    end = time.perf_counter()
    reader.cancel()
    for writer in writers:
        writer.stream.cancel()
        writer.thread.join()
    during = [[at for at in writer.times if begin <= at <= end] for writer in writers]
    gaps = [b - a for times in during for a, b in pairwise(times)]
    show(f"{PROMPT:,} tokens read while two replies are written", f"{end - begin:.2f} s")
    show("pieces the two got meanwhile", " and ".join(str(len(times)) for times in during))
    show("longest wait between two pieces", f"{max(gaps) * 1e3:.0f} ms (median {statistics.median(gaps) * 1e3:.0f} ms)")


class Writer:
    """A reply that is read in a thread, with the time of every piece."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.times: list[float] = []
        self.stream = engine.submit(prompt(seed, 20), SAMPLING)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        for _ in self.stream:
            self.times.append(time.perf_counter())


def measure_speed(engine: Engine) -> None:
    """Tokens written a second by 1, 2 and 4 replies together."""
    for count in (1, 2, 4):
        start = time.perf_counter()
        streams = [
            engine.submit(prompt(300 + count * 10 + n, 20), Sampling(seed=n, max_tokens=60)) for n in range(count)
        ]
        for stream in streams:
            list(stream)
        written = sum(stream.tokens for stream in streams)
        show(
            f"{count} {'reply' if count == 1 else 'replies'} at once",
            f"{written / (time.perf_counter() - start):.1f} tokens/s together",
        )


def measure_chat(path: Path, threads: int, turns: int) -> None:
    """A long chat in a small context: memory, and how often the oldest turns had to go."""
    engine = load_engine(ModelOptions(path, prompt_format="alpaca2", ctx_size=768, threads=threads))
    session = ChatSession(engine, system="", sampling=Sampling(temperature=1.0, max_tokens=8, seed=1))
    drops, warm = 0, 0
    for turn in range(turns):
        drops += session.will_drop(f"turn {turn}: what did they say yesterday?") > 0
        list(session.ask(f"turn {turn}: what did they say yesterday?"))
        if turn == turns // 6:
            warm = resident()
    show(f"chat of {turns} turns in a context of 768", f"turns left out {drops} times, as announced")
    show(f"memory after turn {turns // 6} and at the end", f"{warm / 1e6:.1f} and {resident() / 1e6:.1f} MB")
    engine.close()


def prompt(seed: int, length: int = PROMPT) -> list[int]:
    draw = random.Random(seed)
    return [1, *(draw.randrange(300, 20_000) for _ in range(length - 1))]


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def show(what: str, figure: str) -> None:
    print(f"| {what} | {figure} |", flush=True)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "unknown processor")
    load = f"load average {os.getloadavg()[0]:.1f} at the start"
    return f"{processor}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, {load}"


if __name__ == "__main__":
    main()
