"""What is to be compared: the command line, checked and turned into nouns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from configs.errors import ConfigError
from runtime.arguments import model_options, sampling
from runtime.engine import ModelOptions, Sampling
from tui.chats.folder import data_folder
from tui.settings import check_gguf, check_text, model_name
from tui.words import language_of

Pair = tuple[ModelOptions, ModelOptions]
LETTERS = ("A", "B")


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """Two models, and what to ask them."""

    models: Pair
    sampling: Sampling = field(default_factory=Sampling)
    system: str | None = None
    """None takes each prompt format's own system text."""
    prompt: str | None = None
    """What to ask at once."""
    sheet: Path | None = None
    """None compares texts."""
    sheet_columns: str = ""
    encoding: str = ""
    language: str = "en"
    data_folder: Path = field(default_factory=data_folder)

    @property
    def labels(self) -> tuple[str, str]:
        """What the models are called: file names without their ending, with their adapters'."""
        first, second = (label_of(options) for options in self.models)
        return first, second


def compare_settings(args: argparse.Namespace) -> CompareSettings:
    """Read the parsed command line.

    Raises:
        ConfigError: not two models, the same one twice, a file that is missing or no GGUF, or a text that is not UTF-8.
    """
    if len(args.models) != 2:
        count = {1: "one model", 0: "no model"}.get(len(args.models), f"{len(args.models)} models")
        raise ConfigError(f"compare takes two models, not {count}", hint="--model A.gguf --model B.gguf")
    for model, adapters in args.models:
        for path in (model, *(path for path, _ in adapters)):
            check_gguf(path)
    if _same_model(args.models):
        raise ConfigError(
            f"both models are {args.models[0][0]}",
            hint="give another one, or an --adapter to one of them",
        )
    for flag, text in (("--system", args.system), ("--prompt", args.prompt), *(("--stop", text) for text in args.stop)):
        check_text(flag, text or "")
    if args.sheet is not None:
        _check_sheet(args)
    return CompareSettings(
        models=_pair(args),
        sampling=sampling(args),
        system=args.system,
        prompt=args.prompt,
        sheet=args.sheet,
        sheet_columns=args.sheet_columns,
        encoding=args.encoding,
        language=args.lang or language_of(),
        data_folder=data_folder(args.data_dir),
    )


def label_of(options: ModelOptions) -> str:
    """A model's name as people know it, with its adapters."""
    adapters = (model_name(path) + (f"={weight:g}" if weight != 1 else "") for path, weight in options.adapters)
    return " + ".join([model_name(options.model), *adapters])


def _pair(args: argparse.Namespace) -> Pair:
    shared = model_options(argparse.Namespace(**{**vars(args), "model": Path(), "adapter": ()}))
    first, second = (replace(shared, model=model, adapters=adapters) for model, adapters in args.models)
    return first, second


def _same_model(models: Sequence[tuple[Path, tuple[tuple[Path, float], ...]]]) -> bool:
    first, second = (
        (model.resolve(), [(path.resolve(), weight) for path, weight in adapters]) for model, adapters in models
    )
    return first == second


def _check_sheet(args: argparse.Namespace) -> None:
    if not args.sheet.exists():
        raise ConfigError(f"there is no sheet {args.sheet}", hint="a question is asked with --prompt, or on the screen")
    if args.sheet.is_dir():
        raise ConfigError(f"{args.sheet} is a folder", hint="give the path of an xlsx, csv, tsv, json or jsonl file")
    for flag, given in (("--prompt", args.prompt), ("--system", args.system)):
        if given is not None:
            raise ConfigError(f"{flag} is for texts, not for a sheet", hint=f"leave the sheet out, or {flag}")
