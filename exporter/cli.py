"""`exporter`: words in, exit code out. The work is in plan, merge, adapter_file and inspect."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ConfigError, Parser, run
from exporter import arguments

if TYPE_CHECKING:
    from exporter.merge import MergeResult
    from exporter.plan import ExportPlan

_OBJECTS_BETWEEN_COLLECTIONS = 100_000


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command `exporter`; returns its exit code."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    # Torch alone makes half a million objects that stay: Python need not look for garbage among them while they are
    # imported (0.2 s), nor on its way out (0.3 s).
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    code = run(build_parser(), argv)
    gc.freeze()
    return code


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="exporter",
        description="Base model and adapters -> huggingface or pth folder or GGUF, in one low-memory pass.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    arguments.add_merge(commands, _merge)
    arguments.add_adapter(commands, _adapter)
    arguments.add_quantize(commands, _quantize)
    arguments.add_inspect(commands, _inspect)
    arguments.add_verify(commands, _verify)
    return parser


def _merge(args: argparse.Namespace) -> int:
    from exporter import report
    from exporter.merge import run_merge
    from exporter.plan import make_plan
    from exporter.request import MergeRequest

    adapters = [*args.adapter, *filter(None, args.lora_model.split(","))]
    request = MergeRequest(
        args.base, tuple(_weighted(text) for text in adapters), args.format, args.type, _output(args),
        name=args.name, threads=args.threads, shards=args.shards, overwrite=args.overwrite,
        tensor_types=tuple(args.tensor_type), direct=args.direct, as_trained=args.as_trained,
    )  # fmt: skip
    plan = make_plan(request)
    if args.verbose:
        print(report.plan_text(plan), file=sys.stderr)
    for note in plan.notes:
        print(f"exporter: {note}", file=sys.stderr)
    if args.dry_run:
        return _dry_run(plan, as_json=args.json)
    return _report(run_merge(plan), as_json=args.json)


def _dry_run(plan: ExportPlan, *, as_json: bool) -> int:
    from exporter import report
    from exporter.estimate import estimate

    time = estimate(plan)
    lines = [report.plan_text(plan), f"time      {time.text()}", "nothing was written (--dry-run)"]
    _print({**plan.summary(), "seconds": round(time.seconds, 3)}, "\n".join(lines), as_json=as_json)
    return 0


def _adapter(args: argparse.Namespace) -> int:
    from exporter.adapter_file import export_adapter

    result = export_adapter(args.adapter, args.base, args.output, name=args.name, overwrite=args.overwrite)
    return _report(result, as_json=args.json)


def _quantize(args: argparse.Namespace) -> int:
    from exporter.quantize import QuantizeRequest, quantize_file

    request = QuantizeRequest(
        args.source, args.type, args.output, tuple(args.tensor_type), args.threads, overwrite=args.overwrite
    )
    return _report(quantize_file(request), as_json=args.json)


def _inspect(args: argparse.Namespace) -> int:
    from exporter import report
    from exporter.inspect_path import inspect_path

    found = inspect_path(args.path)
    _print(found, report.inspection_text(found), as_json=args.json)
    return 0 if found["manifest"] != "differs" else 1


def _verify(args: argparse.Namespace) -> int:
    from exporter import report
    from exporter.verification.verify import VerifyRequest, verify

    adapters = tuple(_weighted(text) for text in args.adapter)
    found = verify(VerifyRequest(args.path, args.base, adapters, args.texts, args.threads))
    _print(found.table(), report.verification_text(found), as_json=args.json)
    return 0 if found.proven else 1


def _report(result: MergeResult, *, as_json: bool) -> int:
    from exporter import report

    if result.already_made:
        print(f"exporter: {result.output} was already made from the same inputs", file=sys.stderr)
    _print(report.result_table(result), report.result_text(result), as_json=as_json)
    return 0


def _print(table: dict[str, object], text: str, *, as_json: bool) -> None:
    print(json.dumps(table, ensure_ascii=False, indent=2) if as_json else text)


def _output(args: argparse.Namespace) -> Path:
    """Where `--output` says, or in the older scripts' manner: a GGUF under a name of its own in `--output_dir`."""
    if args.output:
        return Path(args.output)
    return Path(args.output_dir, f"ggml-model-{args.type or 'q4_0'}.gguf" if args.format == "gguf" else "")


def _weighted(text: str) -> tuple[str, float]:
    """`ADAPTER=0.5` -> (ADAPTER, 0.5); a folder whose own name has an `=` is taken whole."""
    head, mark, tail = text.rpartition("=")
    if not mark or Path(text).exists():
        return text, 1.0
    try:
        weight = float(tail)
        if math.isfinite(weight):
            return head, weight
        raise ValueError
    except ValueError:
        raise ConfigError(f"--adapter {text}: {tail!r} is not a number", hint="ADAPTER=0.5") from None


if __name__ == "__main__":
    raise SystemExit(main())
