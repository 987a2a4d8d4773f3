"""The words of `runtime generate`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import common_flags
from runtime.arguments import add_model_flags, add_sampling_flags, whole
from runtime.narration import say
from runtime.showing import load_with_bar, log_to_stderr, run_and_show

if TYPE_CHECKING:
    from runtime.generation.summary import GenerateSummary

DESCRIPTION = (
    "Write a reply to every line of a text file, or to every record of a json, jsonl, csv, tsv or xlsx file: "
    "instructions with their input, messages, texts. An interrupted run resumes by itself. The output appears only "
    "when it is complete."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `runtime generate`."""
    parser.set_defaults(handler=_generate)
    parser.add_argument("input", type=Path, metavar="INPUT", help="lines or records")
    parser.add_argument("--output", type=Path, required=True, metavar="JSONL", help="where the replies go")
    parser.add_argument("--system", metavar="TEXT", help="system text; default: the prompt format's")
    parser.add_argument("--instruction", default="", metavar="TEXT", help="before every input that has none of its own")
    parser.add_argument("--input-columns", default="", metavar="ROLE=COLUMN,…", help="e.g. input=內容,ignore=備註")
    parser.add_argument("--encoding", default="", metavar="NAME", help="of a text file; default: found out")
    parser.add_argument("--schema", type=Path, metavar="FILE", help="JSON Schema that every reply follows")
    parser.add_argument("--choices", default="", metavar="A,B,…", help="every reply is one of these")
    parser.add_argument(
        "--parallel", type=whole(1, 64), default=1, metavar="N", help="replies written at once; 1 is exactly repeatable"
    )
    parser.add_argument("--restart", action="store_true", help="forget the journal and write every reply again")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that was made from other inputs")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_model_flags(parser)
    add_sampling_flags(parser)
    common_flags(parser)


def _generate(args: argparse.Namespace) -> int:
    from configs.instructions import parse_roles
    from runtime.arguments import model_options, sampling
    from runtime.generation.run import GenerateRun, GenerateSettings

    log_to_stderr(debug=args.debug)
    settings = GenerateSettings(
        input=args.input,
        output=args.output,
        model=replace(model_options(args), parallel=args.parallel, question_format=""),
        sampling=sampling(args),
        system=args.system,
        instruction=args.instruction,
        entity_format=args.question_format,
        roles=parse_roles(args.input_columns),
        encoding=args.encoding,
        schema=args.schema,
        choices=tuple(choice.strip() for choice in args.choices.split(",")) if args.choices else (),
        restart=args.restart,
        overwrite=args.overwrite,
    )
    run = GenerateRun(settings, load_with_bar)
    run_and_show(run, "generating")
    assert run.summary is not None
    _report(run.summary, args.output)
    if args.json:
        table = {**asdict(run.summary), "seconds": round(run.seconds, 3), "output": str(args.output)}
        table["errors"] = [
            {"row": number, "id": identity, "reason": reason} for number, identity, reason in run.summary.errors
        ]
        sys.stdout.write(json.dumps(table, ensure_ascii=False) + "\n")
    return 1 if run.summary.unanswered else 0


def _report(summary: GenerateSummary, output: Path) -> None:
    lines = [f"{output} was already made from the same inputs"] if summary.already_made else []
    lines += [f"row {number} (ID {identity}) has no reply: {reason}" for number, identity, reason in summary.errors]
    lines += [f"{summary.cut} replies were cut by --max-tokens or the context"] if summary.cut else []
    lines.append(
        f"{summary.rows} rows: {summary.computed} computed, {summary.from_journal} from the journal, "
        f"{summary.unanswered} unanswered -> {output}"
    )
    for line in lines:
        say(line)
