"""What the commands say on stderr, and the summary of answers that scripts read on stdout."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.rows import Summary


# A sheet's ID may hold what a terminal obeys.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def say(text: str) -> None:
    """One sentence to the person."""
    sys.stderr.write(f"{_CONTROL.sub('', text)}\n")
    sys.stderr.flush()


def report(summary: Summary, seconds: float, output: Path, *, as_json: bool) -> None:
    """Narrate on stderr how a run ended; the summary itself goes to stdout as JSON if asked for."""
    from runtime.answering import LOW_MASS

    if summary.already_made:
        say(f"{output} was already made from the same inputs")
    for number, identity, reason in summary.errors:
        say(f"row {number} (ID {identity}) has no answer: {reason}")
    if summary.warnings:
        say(f"{summary.warnings} rows were answered with a warning; --columns full names it")
    if summary.median_label_mass < LOW_MASS:
        say(
            f"the labels get only {summary.median_label_mass:.1%} of the probability in most rows: "
            "is this the format the model was trained with?"
        )
    if summary.labelled:
        say(summary.accuracy.sentence())
    say(
        f"{summary.rows} rows: {summary.computed} computed, {summary.from_journal} from the journal, "
        f"{summary.unanswered} unanswered -> {output}"
    )
    if as_json:
        sys.stdout.write(json.dumps(_table(summary, seconds, output), ensure_ascii=False) + "\n")


def _table(summary: Summary, seconds: float, output: Path) -> dict[str, object]:
    return {
        "rows": summary.rows,
        "computed": summary.computed,
        "from_journal": summary.from_journal,
        "unanswered": summary.unanswered,
        "accuracy": summary.accuracy.share,
        "interval": list(summary.accuracy.interval) if summary.labelled else None,
        "labelled": summary.labelled,
        "median_label_mass": summary.median_label_mass,
        "warnings": summary.warnings,
        "errors": [{"row": number, "id": identity, "reason": reason} for number, identity, reason in summary.errors],
        "already_made": summary.already_made,
        "seconds": round(seconds, 3),
        "output": str(output),
    }
