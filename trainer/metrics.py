"""metrics.jsonl, and the plots drawn from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.atomic import write_text

Record = dict[str, Any]


def append(path: Path, record: Record) -> None:
    """Add one record; numbers that are not finite become null, as JSON has no others."""
    finite = {key: value if value == value and abs(value) != float("inf") else None for key, value in record.items()}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(finite) + "\n")


def read(path: Path) -> list[Record]:
    """All records; a line that was torn by a crash is dropped."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def truncate(path: Path, step: int) -> None:
    """Forget everything after a step: the run goes on from there."""
    kept = [record for record in read(path) if record["step"] <= step]
    write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def draw_plots(records: Sequence[Record], folder: Path) -> None:
    """Write loss.png, learning_rate.png and, where there were such evaluations, accuracy.png and perplexity.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, title in (
        ("loss", "training loss"),
        ("learning_rate", "learning rate"),
        ("eval_accuracy", "exam accuracy"),
        ("perplexity", "perplexity of other validation rows"),
    ):
        points = [(record["step"], record[key]) for record in records if record.get(key) is not None]
        if points:
            _draw(points, title, folder / f"{key.removeprefix('eval_')}.png")


def _draw(points: Sequence[tuple[int, float]], title: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(*zip(*points, strict=True), marker="." if len(points) < 50 else "", linewidth=1)
    axes.set(xlabel="step", title=title)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
