"""The words of `runtime merge-shards`."""

from __future__ import annotations

import argparse
from pathlib import Path

from configs.errors import common_flags
from runtime.narration import report, say

DESCRIPTION = (
    "Join what several machines answered with `predict --shard` into one CSV, byte for byte what one machine writes. "
    "Rows that no part has are named; merge again when they are there."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The parser of `merge-shards`."""
    parser.set_defaults(handler=_merge)
    parser.add_argument(
        "shards",
        nargs="+",
        type=Path,
        metavar="OUT",
        help="a shard's CSV, its journal beside it, or the journal",
    )
    parser.add_argument("--sheet", type=Path, required=True, metavar="SHEET", help="the sheet they answered")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="where the answers go")
    parser.add_argument("--columns", choices=("kaggle", "full"), default="kaggle", help="default: %(default)s")
    parser.add_argument("--fallback", default="", metavar="LABEL", help="label of rows that cannot be answered")
    parser.add_argument("--sheet-columns", default="", metavar="ROLE=COLUMN,…", help="as it was for predict")
    parser.add_argument("--encoding", default="", metavar="NAME", help="as it was for predict")
    parser.add_argument("--restart", action="store_true", help="forget the output's own journal")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that was made from other inputs")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    common_flags(parser)


def _merge(args: argparse.Namespace) -> int:
    from configs.sheets import parse_columns
    from runtime.answers_file import AnswersFile
    from runtime.inputs import SheetFile
    from runtime.merging import merge_shards

    output = AnswersFile(args.output, args.columns, args.fallback, overwrite=args.overwrite or args.restart)
    sheet = SheetFile(args.sheet, parse_columns(args.sheet_columns), args.encoding)
    merged = merge_shards(args.shards, sheet, output, restart=args.restart)
    for note in merged.notes:
        say(note)
    report(merged.summary, 0.0, args.output, as_json=args.json)
    return 1 if merged.summary.unanswered else 0
