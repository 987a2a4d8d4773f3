"""The words of `runtime evaluate`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from configs.errors import common_flags
from runtime.narration import say

DESCRIPTION = (
    "Grade answers. Of an exam: accuracy with a 95 % interval, confusion, recall per place, calibration and accuracy "
    "per source, alone or against another run. Of what `generate` wrote: entities, or exact match and character F1."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `runtime evaluate`."""
    parser.set_defaults(handler=_evaluate)
    parser.add_argument("answers", type=Path, metavar="ANSWERS", help="CSV of predict, or jsonl of generate")
    parser.add_argument("--sheet", type=Path, required=True, metavar="GOLD.xlsx", help="the right answers")
    parser.add_argument("--task", choices=("exam", "entities", "text"), help="default: what the files hold")
    parser.add_argument("--against", type=Path, metavar="OTHER.csv", help="another run on the same sheet")
    parser.add_argument("--by", metavar="COLUMN", help="column that groups rows; default: the one naming sources")
    parser.add_argument("--sheet-columns", default="", metavar="ROLE=COLUMN,…", help="e.g. answer=正解")
    parser.add_argument("--encoding", default="", metavar="NAME", help="of a csv or json sheet; default: found out")
    parser.add_argument("--question-format", default="", metavar="NAME|FILE", help="whose labels the CSV holds")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write the plots there as PNG")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write everything as one page")
    parser.add_argument("--overwrite", action="store_true", help="replace plots or a report of other answers")
    parser.add_argument("--json", action="store_true", help="print JSON")
    common_flags(parser)


def _evaluate(args: argparse.Namespace) -> int:
    from configs.exam import QuestionFormat
    from runtime.evaluation.files import write_files
    from runtime.evaluation.sections import as_lines
    from runtime.evaluation.tasks import Request, grades

    request = Request(
        answers=args.answers,
        sheet=args.sheet,
        task=args.task,
        against=args.against,
        by=args.by,
        sheet_columns=args.sheet_columns,
        encoding=args.encoding,
        labels=QuestionFormat.load(args.question_format).labels if args.question_format else (),
    )
    found = grades(request)
    title = f"{args.answers.name} against {args.sheet.name}"
    made = write_files(found, title, folder=args.plots, report=args.report, overwrite=args.overwrite)
    for note in (*found.notes, *made):
        say(note)
    lines = [json.dumps(found.table, ensure_ascii=False)] if args.json else as_lines(found.sections)
    sys.stdout.write("\n".join(lines) + "\n")
    if found.fault:
        say(found.fault)
    return 1 if found.fault else 0
