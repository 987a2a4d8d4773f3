"""The `trainer` command: prepare, preview, vocab, plan, fit."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.errors import Parser, common_flags, run
from trainer.datasets.kinds import NAMES


def build_parser() -> argparse.ArgumentParser:
    """The parser of `trainer`; imports nothing heavy."""
    parser = Parser(prog="trainer", description="Instruction data in, LoRA adapter out.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_prepare(commands)
    _add_preview(commands)
    _add_vocab(commands)
    _add_plan(commands)
    _add_fit(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `trainer`."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("trainer").setLevel(logging.INFO)
    return run(build_parser(), argv)


def _add_prepare(commands: Any) -> None:
    parser = commands.add_parser("prepare", help="turn sheets, records, dialogues or raw text into a dataset folder")
    parser.add_argument(
        "sheets", nargs="+", metavar="SHEET[=WEIGHT]",
        help="xlsx, csv, tsv, json, jsonl, txt, parquet or a saved dataset; weights mix by rows",
    )  # fmt: skip
    parser.add_argument("--output", required=True, type=Path, metavar="DATA", help="dataset folder to write")
    parser.add_argument("--format", choices=NAMES, default="", help="kind of data (default: found out)")
    parser.add_argument("--prompt-format", default="alpaca2", metavar="NAME", help="default: alpaca2")
    parser.add_argument("--question-format", default="", metavar="NAME", help="default: formosa; entities: msra")
    parser.add_argument("--validation", type=float, default=0.2, metavar="SHARE", help="share of rows (default: 0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (default: 0)")
    parser.add_argument("--convert", default="", metavar="t2s", help="OpenCC conversion, stored in the question format")
    parser.add_argument("--columns", default="", metavar="passage=文章,…", help="name columns that are not recognised")
    parser.add_argument("--encoding", default="", metavar="NAME", help="of files of text; default: found out")
    parser.add_argument("--model", default="", metavar="BASE", help="count its tokens; leave out rows that do not fit")
    parser.add_argument("--max-length", type=int, default=0, metavar="TOKENS", help="default: the default preset's")
    _output_flags(parser)
    parser.set_defaults(handler=_prepare)


def _add_preview(commands: Any) -> None:
    parser = commands.add_parser("preview", help="show rows as the model will see them")
    parser.add_argument("data", type=Path, metavar="DATA", help="dataset folder")
    parser.add_argument("--model", required=True, metavar="BASE", help="base model: a folder or a hub id")
    parser.add_argument("-n", type=int, default=3, metavar="N", help="rows to show (default: 3)")
    parser.add_argument("--max-length", type=int, default=0, metavar="TOKENS", help="default: the default preset's")
    common_flags(parser)
    parser.set_defaults(handler=_preview)


def _add_vocab(commands: Any) -> None:
    parser = commands.add_parser("vocab", help="give a base model more pieces, learnt from a corpus")
    parser.add_argument(
        "corpus", nargs="+", type=Path, metavar="CORPUS", help="txt, jsonl, json, … : anything that `prepare` reads"
    )
    parser.add_argument("--model", required=True, metavar="BASE", help="base model: a folder or a hub id")
    parser.add_argument("--output", required=True, type=Path, metavar="BASE2", help="model folder to write")
    parser.add_argument("--size", type=int, default=16_000, metavar="N", help="most new pieces (default: 16000)")
    parser.add_argument("--type", choices=("bpe", "unigram"), default="bpe", help="how they are learnt (default: bpe)")
    parser.add_argument("--split-on", default="", metavar="་", help="characters after which a piece ends")
    parser.add_argument(
        "--sample-mb", type=int, default=20, metavar="N", help="learn from N million characters at most (default: 20)"
    )
    parser.add_argument("--format", choices=NAMES, default="", help="kind of data (default: found out)")
    parser.add_argument("--columns", default="", metavar="text=內容,…", help="name columns that are not recognised")
    parser.add_argument("--encoding", default="", metavar="NAME", help="of files of text; default: found out")
    _output_flags(parser)
    parser.set_defaults(handler=_vocab)


def _add_plan(commands: Any) -> None:
    parser = commands.add_parser("plan", help="what a training needs, by part, and which settings fit")
    parser.add_argument("--model", required=True, metavar="BASE|7b", help="a folder, a hub id, or 1.3b, 7b, 13b")
    parser.add_argument("--preset", default="", metavar="NAME|FILE", help="default: formosa, and all are considered")
    parser.add_argument("--gpu-memory", default="", metavar="8GB", help="of each card (default: the usual cards)")
    parser.add_argument("--host-memory", default="", metavar="64GB", help="default: this machine's")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="cards; processes on a CPU (default: 1)")
    parser.add_argument("--cpu", action="store_true", help="plan for training on this CPU")
    parser.add_argument("--data", type=Path, metavar="DATA", help="dataset folder (default: exam questions)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=VALUE", dest="overrides", help="change one setting"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    common_flags(parser)
    parser.set_defaults(handler=_plan)


def _add_fit(commands: Any) -> None:
    parser = commands.add_parser("fit", help="train a LoRA adapter")
    parser.add_argument("--model", required=True, metavar="BASE", help="base model: a folder or a hub id")
    parser.add_argument("--data", required=True, type=Path, metavar="DATA", help="dataset folder")
    parser.add_argument("--output", required=True, type=Path, metavar="ADAPTER", help="adapter folder to write")
    parser.add_argument("--preset", default="formosa", metavar="NAME|FILE", help="default: formosa")
    parser.add_argument(
        "--init-adapter", default="", metavar="ADAPTER", help="adapter (folder or hub id) to train further"
    )
    parser.add_argument("--deepspeed", default="", metavar="NAME|FILE|none", help="default: the preset's, else zero2")
    parser.add_argument(
        "--gpus", default="", metavar="N|0,2", help="how many or which; processes on a CPU (default: all GPUs, or 1)"
    )
    parser.add_argument(
        "--hostfile", type=Path, metavar="FILE", help="train on many machines: a line `NAME slots=N` for each"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest complete checkpoint")
    parser.add_argument(
        "--report-to", default="", metavar="tensorboard,wandb", help="records for other programs; wandb's stays offline"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=VALUE", dest="overrides", help="change one setting"
    )
    _output_flags(parser)
    parser.set_defaults(handler=_fit)


def _output_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    common_flags(parser)


def _prepare(args: argparse.Namespace) -> None:
    from trainer.datasets.mixture import parse_source
    from trainer.prepare import PrepareOptions, prepare
    from trainer.prepare_report import narration, table

    options = PrepareOptions(
        sources=tuple(map(parse_source, args.sheets)),
        output=args.output,
        format=args.format,
        prompt_format=args.prompt_format,
        question_format=args.question_format,
        validation=args.validation,
        seed=args.seed,
        convert=args.convert,
        columns=args.columns,
        encoding=args.encoding,
        model=args.model,
        max_length=args.max_length,
        overwrite=args.overwrite,
    )
    prepared = prepare(options)
    for line in narration(prepared, args.output):
        print(line, file=sys.stderr)
    print(json.dumps(prepared.meta, ensure_ascii=False) if args.json else "\n".join(table(prepared.meta)))


def _preview(args: argparse.Namespace) -> None:
    from trainer.preview import preview

    for line in preview(args.data, args.model, rows=args.n, max_length=args.max_length):
        print(line)


def _vocab(args: argparse.Namespace) -> None:
    from trainer.vocab.build import VocabOptions, extend_base
    from trainer.vocab.report import lines

    options = VocabOptions(
        corpus=tuple(args.corpus),
        model=args.model,
        output=args.output,
        size=args.size,
        kind=args.type,
        split_on=args.split_on,
        sample_mb=args.sample_mb,
        format=args.format,
        columns=args.columns,
        encoding=args.encoding,
        overwrite=args.overwrite,
    )
    report, made = extend_base(options, lambda sentence: print(sentence, file=sys.stderr))
    told = f"wrote {args.output}" if made else f"{args.output} was already made from the same inputs"
    print(told, file=sys.stderr)
    print(json.dumps(report, ensure_ascii=False) if args.json else "\n".join(lines(report)))


def _plan(args: argparse.Namespace) -> None:
    from trainer.planning.plan import PlanRequest, make_plan
    from trainer.planning.report import lines, tree

    request = PlanRequest(
        model=args.model,
        preset=args.preset,
        overrides=tuple(args.overrides),
        gpu_memory=args.gpu_memory,
        host_memory=args.host_memory,
        gpus=args.gpus,
        data=args.data,
        on_cpu=args.cpu,
    )
    plan = make_plan(request)
    print(json.dumps(tree(plan), ensure_ascii=False) if args.json else "\n".join(lines(plan)))


def _fit(args: argparse.Namespace) -> None:
    from trainer.job import FitRequest, plan_job
    from trainer.launch import train
    from trainer.settings import load_settings
    from trainer.trackers import parse_trackers

    request = FitRequest(
        model=args.model,
        data=args.data,
        output=args.output,
        settings=load_settings(args.preset, args.overrides, args.deepspeed),
        init_adapter=args.init_adapter,
        gpus=args.gpus,
        hostfile=args.hostfile,
        resume=args.resume,
        report_to=parse_trackers(args.report_to),
        overwrite=args.overwrite,
    )
    job = plan_job(request)
    if job is None:
        print(f"{args.output} was already made from the same inputs", file=sys.stderr)
    else:
        train(job)
        print(f"wrote {args.output}", file=sys.stderr)
    _print_fitted(args.output, as_json=args.json)


def _print_fitted(output: Path, *, as_json: bool) -> None:
    record = json.loads((output / "training.json").read_text(encoding="utf-8"))
    if as_json:
        print(json.dumps(record, ensure_ascii=False))
        return
    result = record["result"]
    told = f"{output}: best step {record['best_step']} of {result['steps']}"
    if result["accuracy"] is not None:
        told += f", accuracy {result['accuracy']:.1%} on {result['evaluation_rows']} rows"
    if result["perplexity"] is not None:
        told += f", perplexity {result['perplexity']:.2f} and token accuracy {result['token_accuracy']:.1%}"
        told += f" on {result['token_rows']} other rows"
    print(told)
