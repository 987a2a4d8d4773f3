"""The flags that several commands share, and the options they become."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from configs.errors import ConfigError
from runtime.interface import ModelOptions, Sampling

_SAMPLING = Sampling()


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say which model to load and how."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", type=Path, required=True, metavar="M.gguf", help="the model")
    group.add_argument(
        "--adapter", action="append", default=[], metavar="L.gguf[=WEIGHT]", help="a LoRA to plug in; may be repeated"
    )
    group.add_argument("--prompt-format", default="", metavar="NAME|FILE", help="default: what the model carries")
    group.add_argument("--question-format", default="", metavar="NAME|FILE", help="default: what the model carries")
    group.add_argument("--threads", type=number(int, 0, 512), default=0, metavar="N", help="default: physical cores")
    group.add_argument("--gpu-layers", type=_gpu_layers, default="auto", metavar="N|auto", help="layers on the GPU")
    group.add_argument(
        "--ctx-size", type=number(int, 0), default=0, metavar="N", help="tokens of context; default: as many as needed"
    )


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how the next token is drawn."""
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--temperature", type=number(float, 0, 100), default=_SAMPLING.temperature, help="default: %(default)s"
    )
    group.add_argument("--top-p", type=number(float, 0, 1), default=_SAMPLING.top_p, help="default: %(default)s")
    group.add_argument("--top-k", type=number(int, 0), default=_SAMPLING.top_k, help="0: all; default: %(default)s")
    group.add_argument(
        "--repeat-penalty", type=number(float, 0.01, 100), default=_SAMPLING.repeat_penalty, help="default: %(default)s"
    )
    group.add_argument("--max-tokens", type=number(int, 1), default=_SAMPLING.max_tokens, help="default: %(default)s")
    group.add_argument("--seed", type=number(int, 0), default=None, help="the same seed gives the same reply")
    group.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end the reply here; may be repeated"
    )


def model_options(args: argparse.Namespace) -> ModelOptions:
    """The model flags as options.

    Raises:
        ConfigError: an adapter's weight is not a number.
    """
    return ModelOptions(
        model=args.model,
        adapters=tuple(_adapter(text) for text in args.adapter),
        prompt_format=args.prompt_format,
        question_format=args.question_format,
        threads=args.threads,
        gpu_layers=args.gpu_layers,
        ctx_size=args.ctx_size,
    )


def sampling(args: argparse.Namespace) -> Sampling:
    """The sampling flags as options."""
    return Sampling(
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k,
        repeat_penalty=args.repeat_penalty,
        max_tokens=args.max_tokens,
        seed=args.seed,
        stop=tuple(args.stop),
    )


def number(kind: Callable[[str], float], low: float, high: float = 2**31 - 1) -> Callable[[str], float]:
    """An argparse type: a number within bounds."""

    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    parse.__name__ = "number"
    return parse


def _gpu_layers(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _adapter(text: str) -> tuple[Path, float]:
    """`L.gguf=0.5`; a file whose name has a `=` of its own is found too."""
    path, sign, weight = text.rpartition("=")
    if not sign or Path(text).exists():
        return Path(text), 1.0
    try:
        return Path(path), float(weight)
    except ValueError:
        raise ConfigError(f"--adapter {text}: the weight '{weight}' is not a number") from None
