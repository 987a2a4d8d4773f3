"""The command `runtime`: words in, exit code out. Heavy imports wait until the arguments are valid."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import Parser, common_flags, run
from runtime import merge_command
from runtime.evaluation import command as evaluation
from runtime.narration import report, say

if TYPE_CHECKING:
    from configs.progress import Shower
    from runtime.batch import PredictRun
    from runtime.interface import Engine, ModelOptions


def build_parser() -> argparse.ArgumentParser:
    """The parser of `runtime` and its commands."""
    parser = Parser(prog="runtime", description="Answer questions and chat with a GGUF model, offline.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_predict(commands.add_parser("predict", help="question sheet -> answers CSV", description=_PREDICT))
    evaluation.add_arguments(commands.add_parser("evaluate", help="grade answers", description=evaluation.DESCRIPTION))
    merge_command.add_arguments(
        commands.add_parser(
            "merge-shards", help="parts of a sheet -> answers CSV", description=merge_command.DESCRIPTION
        )
    )
    _add_chat(commands.add_parser("chat", help="plain terminal chat", description=_CHAT))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), argv)


_PREDICT = (
    "Answer every question of a sheet from the probabilities of its labels; nothing is sampled. An interrupted run "
    "resumes by itself. The CSV appears only when it is complete."
)
_DEBIAS = (
    "ask with the options in several orders and take the mean: cyclic, one order for each option; full, every order; "
    "pride, a sample in cyclic orders, and what it shows about the labels taken off the rest; default: none"
)
_CHAT = "Chat in the terminal; a prompt that comes through a pipe is answered once."


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from runtime.arguments import add_model_flags
    from runtime.benchmarks.command import add_flags

    parser.set_defaults(handler=_predict)
    parser.add_argument("sheet", type=Path, metavar="SHEET", help="xlsx, csv, tsv, json or jsonl")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="where the answers go")
    parser.add_argument("--columns", choices=("kaggle", "full"), help="default: kaggle")
    parser.add_argument("--debias", choices=("none", "cyclic", "full", "pride"), default="none", help=_DEBIAS)
    parser.add_argument("--fallback", default="", metavar="LABEL", help="label of rows that cannot be answered")
    parser.add_argument("--sheet-columns", default="", metavar="ROLE=COLUMN,…", help="e.g. passage=文章,choice1=甲")
    parser.add_argument("--encoding", default="", metavar="NAME", help="of a csv, tsv or json; default: found out")
    parser.add_argument("--restart", action="store_true", help="forget the journal and compute every row again")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that was made from other inputs")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--shard", default="", metavar="I/N", help="answer this part only; merge-shards joins them")
    add_flags(parser)
    add_model_flags(parser)
    common_flags(parser)


def _add_chat(parser: argparse.ArgumentParser) -> None:
    from runtime.arguments import add_model_flags, add_sampling_flags

    parser.set_defaults(handler=_chat)
    parser.add_argument("--system", default=None, metavar="TEXT", help="system text; default: the prompt format's")
    add_model_flags(parser)
    add_sampling_flags(parser)
    common_flags(parser)


def _predict(args: argparse.Namespace) -> int:
    from configs.progress import Shower
    from configs.sheets import parse_columns
    from runtime.arguments import model_options
    from runtime.batch import PredictRun, PredictSettings
    from runtime.benchmarks.command import as_prediction, benchmark_settings, finish
    from runtime.shards import WHOLE, Shard

    _log_to_stderr(args)
    benchmark = benchmark_settings(args)
    settings = PredictSettings(
        sheet=args.sheet,
        output=args.output,
        model=model_options(args),
        columns=args.columns or "kaggle",
        debias=args.debias,
        fallback=args.fallback,
        restart=args.restart,
        overwrite=args.overwrite,
        sheet_columns=parse_columns(args.sheet_columns),
        encoding=args.encoding,
        shard=Shard.parse(args.shard) if args.shard else WHOLE,
    )
    if benchmark:
        settings, notes = as_prediction(settings, benchmark)
        for note in notes:
            say(note)
    prediction = PredictRun(settings, _loader(Shower))
    _run_and_show(prediction, Shower("answering"))
    assert prediction.summary is not None
    if benchmark:
        say(finish(benchmark))
    report(prediction.summary, prediction.seconds, settings.answers.path, as_json=args.json)
    return 1 if prediction.summary.unanswered else 0


def _chat(args: argparse.Namespace) -> None:
    from configs.progress import Shower
    from runtime.arguments import model_options, read_prompt, sampling
    from runtime.chat import ChatSession
    from runtime.terminal import answer_pipe, converse

    _log_to_stderr(args)
    prompt = "" if sys.stdin.isatty() else read_prompt(sys.stdin)
    engine = _loader(Shower)(model_options(args))
    try:
        for note in engine.notes:
            say(note)
        session = ChatSession(engine, system=args.system, sampling=sampling(args))
        if not prompt:
            converse(session)
        else:
            answer_pipe(session, prompt)
    finally:
        engine.close()


def _loader(shower: Callable[[str], Shower]) -> Callable[[ModelOptions], Engine]:
    """`load_engine` with a bar on stderr while the weights load."""

    def load(options: ModelOptions) -> Engine:
        from configs.progress import Progress
        from runtime.engine import load_engine

        bar = shower(f"loading {options.model.name}")

        def show(share: float) -> bool:
            if sys.stderr.isatty():
                bar.show(Progress(round(100 * share), 100, "%"))
            return True

        engine = load_engine(options, on_progress=show)
        bar.finish()
        return engine

    return load


def _run_and_show(prediction: PredictRun, bar: Shower) -> None:
    told = 0
    for event in prediction:
        for note in prediction.notes[told:]:
            say(note)
        told = len(prediction.notes)
        bar.show(event)
    bar.finish()
    for note in prediction.notes[told:]:
        say(note)


def _log_to_stderr(args: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.DEBUG if args.debug else logging.WARNING, format="%(name)s: %(message)s")


if __name__ == "__main__":
    raise SystemExit(main())
