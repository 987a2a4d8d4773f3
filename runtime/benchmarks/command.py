"""The words of `runtime predict --benchmark`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from configs.errors import ConfigError
from runtime.arguments import whole

if TYPE_CHECKING:
    from runtime.batch import PredictSettings
    from runtime.benchmarks.run import BenchmarkSettings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that make a benchmark's folder the sheet."""
    group = parser.add_argument_group("benchmark", "SHEET is a folder then, and so is the output")
    group.add_argument("--benchmark", choices=("ceval", "cmmlu"), help="whose layout the folder has")
    group.add_argument("--shots", type=whole(0), metavar="K", help="worked examples before a question; default: 5")
    group.add_argument("--split", metavar="NAME", help="val or test of C-Eval; default: the one with labels")


def benchmark_settings(args: argparse.Namespace) -> BenchmarkSettings | None:
    """The benchmark that is asked for; None where the sheet is a sheet.

    Raises:
        ConfigError: flags that do not belong together.
    """
    if not args.benchmark:
        if args.shots is not None or args.split:
            raise ConfigError("--shots and --split need --benchmark", hint="--benchmark ceval|cmmlu")
        if args.sheet.is_dir():
            raise ConfigError(f"{args.sheet} is a folder", hint="--benchmark ceval|cmmlu reads those")
        return None
    for flag in ("--columns", "--sheet-columns", "--encoding", "--shard"):
        if getattr(args, flag.strip("-").replace("-", "_")):
            raise ConfigError(f"{flag} does not go with --benchmark", hint="the sheet is made from the folder")
    from runtime.benchmarks.run import QUESTION_FORMAT, BenchmarkSettings

    return BenchmarkSettings(
        name=args.benchmark,
        folder=args.sheet,
        output=args.output,
        shots=5 if args.shots is None else args.shots,
        split=args.split or "",
        question_format=args.question_format or QUESTION_FORMAT,
        overwrite=args.overwrite or args.restart,
    )


def as_prediction(settings: PredictSettings, benchmark: BenchmarkSettings) -> tuple[PredictSettings, list[str]]:
    """Make the sheet; returns the settings to answer it with, and what to tell the user.

    Raises:
        ConfigError: the folder is not the benchmark's, or the output holds another run.
    """
    from runtime.benchmarks.run import ANSWERS, write_sheet

    sheet, notes = write_sheet(benchmark)
    model = replace(settings.model, question_format=benchmark.question_format)
    return replace(settings, sheet=sheet, output=benchmark.output / ANSWERS, columns="full", model=model), notes


def finish(benchmark: BenchmarkSettings) -> str:
    """Write the results; returns a sentence about them."""
    from runtime.benchmarks.run import SUBMISSION, SUMMARY, write_results

    table = write_results(benchmark)
    if table is None:
        return (
            f"{benchmark.output / SUBMISSION} written; the labels of this split are not public, so there is no summary"
        )
    groups = ", ".join(f"{name} {group['score']:.1%}" for name, group in table["grouped"].items())
    return f"{groups} -> {benchmark.output / SUMMARY}"
