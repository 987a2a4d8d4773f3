"""The flags that every `tui` command shares, and the words they accept."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a model and how it is loaded."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="M.gguf", type=Path, required=True, help="the model")
    group.add_argument(
        "--adapter",
        metavar="L.gguf[=WEIGHT]",
        type=adapter,
        action="append",
        default=[],
        help="plug in a LoRA adapter; may be repeated",
    )
    group.add_argument("--prompt-format", metavar="NAME", default="", help="default: the one the model carries")
    group.add_argument("--question-format", metavar="NAME", default="", help="default: the one the model carries")
    group.add_argument("--threads", metavar="N", type=whole(1), default=0, help="default: the physical cores")
    group.add_argument("--gpu-layers", metavar="N|auto", type=gpu_layers, default="auto", help="default: auto")
    group.add_argument("--ctx-size", metavar="N", type=whole(1), default=0, help="tokens (default: the model's)")


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose how the next token is drawn."""
    group = parser.add_argument_group("sampling")
    group.add_argument("--temperature", metavar="T", type=real(0), default=0.2, help="0 is greedy (default: 0.2)")
    group.add_argument("--top-p", metavar="P", type=real(0, 1), default=0.9, help="default: 0.9")
    group.add_argument("--top-k", metavar="K", type=whole(0), default=40, help="0 is all (default: 40)")
    group.add_argument("--repeat-penalty", metavar="R", type=real(0), default=1.1, help="default: 1.1")
    group.add_argument("--max-tokens", metavar="N", type=whole(1), default=400, help="per reply (default: 400)")
    group.add_argument("--seed", metavar="N", type=whole(0), help="same seed, same text (default: a new one each time)")
    group.add_argument("--stop", metavar="TEXT", action="append", default=[], help="end replies here; may be repeated")


def adapter(text: str) -> tuple[Path, float]:
    """Read `L.gguf` or `L.gguf=0.5`; an equals sign that no number follows belongs to the path."""
    path, equals, weight = text.rpartition("=")
    if equals:
        try:
            return Path(path), real(-math.inf)(weight)
        except (ValueError, argparse.ArgumentTypeError):
            pass
    return Path(text), 1.0


def gpu_layers(text: str) -> int | str:
    """Read `auto` or a number of layers."""
    return text if text == "auto" else whole(0)(text)


def whole(low: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `low` up."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return value

    return read


def real(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Return a reader of finite numbers in `low`..`high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not math.isfinite(value) or not low <= value <= high:
            limits = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise argparse.ArgumentTypeError(f"{text} is not {limits}")
        return value

    return read
