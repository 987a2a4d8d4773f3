"""Makes what the road of named entities begins with: texts to train on, texts held out, and a base model.

    python examples/entities/make.py out/entities

The road itself goes through the public commands; see docs/entities.md.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "demo")]

HELD_OUT_ROWS = 200


def main() -> int:
    """Write training.jsonl, held-out.jsonl and base/."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--rows", type=int, default=4000, help="texts to train on (default: 4000)")
    parser.add_argument("--steps", type=int, default=0, help="of the base's training; 0: the base's own number")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import torch
    from base import STEPS, make_base
    from texts import texts, write

    # Matrices this small lose time to a second thread.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    draw = random.Random(args.seed)
    held_out = texts(draw, HELD_OUT_ROWS)
    taken = frozenset(words for words, _ in held_out)
    args.output.mkdir(parents=True, exist_ok=True)
    write(args.output / "held-out.jsonl", held_out)
    write(args.output / "training.jsonl", texts(draw, args.rows, taken))
    make_base(args.output / "base", taken, seed=args.seed, steps=args.steps or STEPS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
