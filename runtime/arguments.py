"""The flags that several commands of `runtime` and `tui` share, and the options they become."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from configs.errors import ConfigError
from runtime.interface import ModelOptions, Sampling

COLUMNS_FLAG = "--sheet-columns"
"""Names a sheet's columns; `--columns` says what the answers CSV holds."""

_DEBIAS = (
    "ask with the options in several orders and take the mean: cyclic, one order for each option; full, every order; "
    "pride, a sample in cyclic orders, and what it shows about the labels taken off the rest; default: none"
)
_SAMPLING = Sampling()
_MOST = 2**31 - 1
"""llama.cpp counts in 32 bits."""


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say which model to load and how."""
    group = parser.add_argument_group("model")
    group.add_argument("--model", type=Path, required=True, metavar="M.gguf", help="the model")
    group.add_argument(
        "--adapter",
        type=adapter,
        action="append",
        default=[],
        metavar="L.gguf[=WEIGHT]",
        help="a LoRA to plug in; may be repeated",
    )
    add_loading_flags(group)


def add_loading_flags(group: argparse._ArgumentGroup) -> None:
    """Flags that say how a model is asked and loaded, whichever it is."""
    group.add_argument("--prompt-format", default="", metavar="NAME|FILE", help="default: what the model carries")
    group.add_argument("--question-format", default="", metavar="NAME|FILE", help="default: what the model carries")
    group.add_argument("--threads", type=whole(1, 512), default=0, metavar="N", help="default: physical cores")
    group.add_argument("--gpu-layers", type=gpu_layers, default="auto", metavar="N|auto", help="layers on the GPU")
    group.add_argument("--ctx-size", type=whole(1), default=0, metavar="N", help="tokens of context; default: the need")


def add_answer_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how a sheet is read, how it is asked, and what its answers CSV holds."""
    parser.add_argument("--columns", choices=("kaggle", "full"), help="default: kaggle")
    parser.add_argument("--debias", choices=("none", "cyclic", "full", "pride"), default="none", help=_DEBIAS)
    parser.add_argument("--fallback", default="", metavar="LABEL", help="label of rows that cannot be answered")
    parser.add_argument(COLUMNS_FLAG, default="", metavar="ROLE=COLUMN,…", help="e.g. passage=文章,choice1=甲")
    parser.add_argument("--encoding", default="", metavar="NAME", help="of a csv, tsv or json; default: found out")
    parser.add_argument("--restart", action="store_true", help="forget the journal and compute every row again")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that was made from other inputs")


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say how the next token is drawn."""
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--temperature",
        type=real(0),
        default=_SAMPLING.temperature,
        metavar="T",
        help="0 is greedy; default: %(default)s",
    )
    group.add_argument("--top-p", type=real(0, 1), default=_SAMPLING.top_p, metavar="P", help="default: %(default)s")
    group.add_argument(
        "--top-k", type=whole(0), default=_SAMPLING.top_k, metavar="K", help="0: all; default: %(default)s"
    )
    group.add_argument(
        "--repeat-penalty", type=real(0.01), default=_SAMPLING.repeat_penalty, metavar="R", help="default: %(default)s"
    )
    group.add_argument(
        "--max-tokens",
        type=whole(1),
        default=_SAMPLING.max_tokens,
        metavar="N",
        help="of a reply; default: %(default)s",
    )
    group.add_argument("--seed", type=whole(0), metavar="N", help="the same seed gives the same reply")
    group.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end the reply here; may be repeated"
    )


def model_options(args: argparse.Namespace) -> ModelOptions:
    """The model flags as options."""
    return ModelOptions(
        model=args.model,
        adapters=tuple(args.adapter),
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


def adapter(text: str) -> tuple[Path, float]:
    """Read `L.gguf` or `L.gguf=0.5`; an equals sign that no number follows, or of a file's own name, is the path's."""
    path, equals, weight = text.rpartition("=")
    if equals and not Path(text).exists():
        try:
            return Path(path), real(-math.inf)(weight)
        except argparse.ArgumentTypeError:
            if not Path(weight).suffix:
                raise
    return Path(text), 1.0


def gpu_layers(text: str) -> int | str:
    """Read `auto` or a number of layers."""
    return text if text == "auto" else whole(0)(text)


def whole(low: int, high: int = _MOST) -> Callable[[str], int]:
    """A reader of whole numbers in `low`..`high`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not {_limits(low, high)}")
        return value

    return read


def real(low: float, high: float = math.inf) -> Callable[[str], float]:
    """A reader of finite numbers in `low`..`high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not math.isfinite(value) or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not {_limits(low, high)}")
        return value

    return read


def read_prompt(stdin: TextIO) -> str:
    """Read a whole pipe as one message.

    Raises:
        ConfigError: there is nothing in it, or it is not UTF-8.
    """
    buffer = getattr(stdin, "buffer", None)
    try:
        text = buffer.read().decode("utf-8-sig") if buffer is not None else stdin.read()
    except UnicodeDecodeError:
        raise ConfigError("the text on standard input is not UTF-8", hint="convert it, e.g. iconv -f BIG5") from None
    if not text.strip():
        raise ConfigError("standard input holds no text", hint="echo 你好 | runtime chat --model M.gguf")
    return str(text).strip()


def _limits(low: float, high: float) -> str:
    if high < math.inf:
        return f"between {low} and {high}"
    return f"at least {low}" if low > -math.inf else "a finite number"
