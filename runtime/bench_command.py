"""The words of `runtime bench`."""

from __future__ import annotations

import argparse
import json
import sys

from configs.errors import common_flags
from runtime.arguments import add_model_flags
from runtime.showing import log_to_stderr

DESCRIPTION = (
    "Measure a model on this machine: speed of reading a prompt and of writing a reply, memory, what llama.cpp was "
    "built with, and the share of a bare llama.cpp loop's speed that predict reaches on a small made-up sheet."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `runtime bench`."""
    parser.set_defaults(handler=_bench)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_model_flags(parser)
    common_flags(parser)


def _bench(args: argparse.Namespace) -> None:
    from runtime.arguments import model_options
    from runtime.bench import bench

    log_to_stderr(debug=args.debug)
    result = bench(model_options(args))
    text = json.dumps(result.table(), ensure_ascii=False) if args.json else "\n".join(result.lines())
    sys.stdout.write(f"{text}\n")
