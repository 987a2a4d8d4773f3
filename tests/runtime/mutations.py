"""Damaged GGUFs by number, and a process that runs the command on many of them, one after another.

    python -m tests.runtime.mutations MODEL ADAPTER FIRST COUNT FOLDER

prints a line of JSON before and after each, so that whoever reads knows which one ended the process.
"""

from __future__ import annotations

import io
import json
import random
import struct
import sys
from pathlib import Path

INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    31,
    63,
    64,
    65,
    127,
    255,
    256,
    4095,
    2**15,
    2**16,
    *(2**n - d for n in (31, 32, 63, 64) for d in (0, 1)),
)


def mutated(data: bytes, number: int, head: int) -> bytes:
    """The file of that number: the same every time. `head` is the length of the header."""
    draw = random.Random(number)
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        kind = draw.randrange(8)
        if kind == 0:  # a count or the version
            at, width = draw.choice(((4, 4), (8, 8), (16, 8)))
            out[at : at + width] = (draw.choice(INTERESTING) & (2 ** (8 * width) - 1)).to_bytes(width, "little")
        elif kind == 1:  # a 32-bit number anywhere in the head
            at = draw.randrange(24, head - 4)
            out[at : at + 4] = struct.pack("<I", draw.choice(INTERESTING) & 0xFFFFFFFF)
        elif kind == 2:  # the value of a number among the keys
            at = _after_key(out, draw, head)
            out[at : at + 4] = struct.pack("<I", draw.choice(INTERESTING) & 0xFFFFFFFF)
        elif kind == 3:  # bytes in the head
            for _ in range(draw.randrange(1, 9)):
                out[draw.randrange(24, head)] = draw.randrange(256)
        elif kind == 4:  # bytes in the weights
            for _ in range(draw.randrange(1, 64)):
                out[draw.randrange(head, len(out))] = draw.choice((0, 127, 128, 255, draw.randrange(256)))
        elif kind == 5:  # a shorter file
            del out[draw.choice((draw.randrange(head), draw.randrange(head, len(out)))) :]
            return bytes(out)
        elif kind == 6:  # a piece of the head twice, or missing
            at, length = draw.randrange(24, head), draw.randrange(1, 200)
            out[at:at] = out[at : at + length] if draw.random() < 0.5 else b""
            del out[at : at + draw.choice((0, length))]
        else:  # the tensor list: its last part of the head
            at = draw.randrange(max(24, head - 2000), head - 8)
            out[at : at + 8] = struct.pack("<Q", draw.choice(INTERESTING) & (2**64 - 1))
    return bytes(out)


def _after_key(data: bytearray, draw: random.Random, head: int) -> int:
    """Where the value of one of the llama.* and tokenizer.* keys begins."""
    places = []
    for word in (b"llama.", b"tokenizer.ggml.", b"general.", b"adapter."):
        at = data.find(word, 0, head)
        while at >= 8:
            length = int.from_bytes(data[at - 8 : at], "little")
            if length < 100:
                places.append(at + length + 4)
            at = data.find(word, at + 1, head)
    places = [at for at in places if at + 4 < head] or [24]
    return draw.choice(places)


def header_length(path: Path) -> int:
    import gguf

    return int(gguf.GGUFReader(path).data_offset)


def main(model: str, adapter: str, first: str, count: str, folder: str) -> None:
    from tests.tiny import run_cli

    sources = {"model": Path(model), "adapter": Path(adapter)}
    heads = {name: header_length(path) for name, path in sources.items()}
    for number in range(int(first), int(first) + int(count)):
        name = "adapter" if number % 4 == 3 else "model"
        path = Path(folder) / f"{first}.gguf"
        path.write_bytes(mutated(sources[name].read_bytes(), number, heads[name]))
        files = ["--model", path] if name == "model" else ["--model", model, "--adapter", path]
        print(json.dumps({"begins": number}), flush=True)
        sys.stdin = io.StringIO("志明今天說到什麼？")
        flags = ["--threads", 1, "--max-tokens", 3, "--seed", 1, "--ctx-size", 512]
        code, out, err = run_cli("runtime.cli", "chat", *files, *flags)
        print(json.dumps({"number": number, "file": name, "code": code, "out": out, "err": err}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
