"""The command `runtime`: words in, exit code out. Heavy imports wait until the arguments are valid."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.errors import Parser, common_flags, run
from runtime import bench_command, merge_command
from runtime.evaluation import command as evaluation
from runtime.generation import command as generation
from runtime.narration import report, say
from runtime.showing import load_with_bar, log_to_stderr, run_and_show


def build_parser() -> argparse.ArgumentParser:
    """The parser of `runtime` and its commands."""
    parser = Parser(prog="runtime", description="Answer questions and chat with a GGUF model, offline.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_predict(commands.add_parser("predict", help="question sheet -> answers CSV", description=_PREDICT))
    generation.add_arguments(
        commands.add_parser("generate", help="lines or records -> replies", description=generation.DESCRIPTION)
    )
    evaluation.add_arguments(commands.add_parser("evaluate", help="grade answers", description=evaluation.DESCRIPTION))
    merge_command.add_arguments(
        commands.add_parser(
            "merge-shards", help="parts of a sheet -> answers CSV", description=merge_command.DESCRIPTION
        )
    )
    _add_chat(commands.add_parser("chat", help="plain terminal chat", description=_CHAT))
    bench = commands.add_parser("bench", help="speed and memory of a model here", description=bench_command.DESCRIPTION)
    bench_command.add_arguments(bench)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), argv)


_PREDICT = (
    "Answer every question of a sheet from the probabilities of its labels; nothing is sampled. An interrupted run "
    "resumes by itself. The CSV appears only when it is complete."
)
_CHAT = "Chat in the terminal; a prompt that comes through a pipe is answered once."


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from runtime.arguments import add_answer_flags, add_model_flags
    from runtime.benchmarks.command import add_flags

    parser.set_defaults(handler=_predict)
    parser.add_argument("sheet", type=Path, metavar="SHEET", help="xlsx, csv, tsv, json or jsonl")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="where the answers go")
    add_answer_flags(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--shard", default="", metavar="I/N", help="answer this part only; merge-shards joins them")
    parser.add_argument(
        "--scheduler", default="", metavar="tcp://HOST:PORT", help="compute on a Dask cluster, on a network you trust"
    )
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
    from configs.sheets import parse_columns
    from runtime.arguments import model_options
    from runtime.batch import PredictRun, PredictSettings
    from runtime.benchmarks.command import as_prediction, benchmark_settings, finish
    from runtime.shards import WHOLE, Shard

    log_to_stderr(debug=args.debug)
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
        scheduler=args.scheduler,
    )
    if benchmark:
        settings, notes = as_prediction(settings, benchmark)
        for note in notes:
            say(note)
    prediction = PredictRun(settings, load_with_bar)
    run_and_show(prediction, "answering")
    assert prediction.summary is not None
    if benchmark:
        say(finish(benchmark))
    report(prediction.summary, prediction.seconds, settings.answers.path, as_json=args.json)
    return 1 if prediction.summary.unanswered else 0


def _chat(args: argparse.Namespace) -> None:
    from runtime.arguments import model_options, read_prompt, sampling
    from runtime.chat import ChatSession
    from runtime.terminal import answer_pipe, converse

    log_to_stderr(debug=args.debug)
    prompt = "" if sys.stdin.isatty() else read_prompt(sys.stdin)
    engine = load_with_bar(model_options(args))
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


if __name__ == "__main__":
    raise SystemExit(main())
