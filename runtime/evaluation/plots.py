"""Plots as PNG bytes: the same numbers give the same bytes. They hold digits and English words only, so that no font
lacks a character."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from configs.calibration import Calibration
from configs.errors import require
from runtime.evaluation.exam import Evaluation
from runtime.evaluation.exam_sections import NO_ANSWER, places

_DOTS_PER_INCH = 120


def plots(evaluation: Evaluation, measured: Calibration | None) -> dict[str, bytes]:
    """Name -> PNG: `confusion`, and `reliability` where the CSV holds probabilities.

    Raises:
        MachineError: matplotlib is not installed.
    """
    found = {}
    if evaluation.graded:
        found["confusion"] = _png(lambda axes: _confusion(axes, evaluation))
    if measured:
        found["reliability"] = _png(lambda axes: _reliability(axes, measured))
    return found


def _png(draw: Callable[[Any], None]) -> bytes:
    figures = require("matplotlib.figure", "edge")
    canvas = require("matplotlib.backends.backend_agg", "edge")
    figure = figures.Figure(figsize=(5.2, 4.4), layout="constrained")
    canvas.FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": "lora2edge"})
    return file.getvalue()


def _confusion(axes: Any, evaluation: Evaluation) -> None:
    answers = places(evaluation)
    golds = [place for place in answers if place is not None]
    counts = evaluation.confusion
    grid = []
    for gold in golds:
        total = sum(counts[gold, answer] for answer in answers)
        grid.append([counts[gold, answer] / total if total else 0.0 for answer in answers])
    axes.imshow(grid, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, gold in enumerate(golds):
        for x, answer in enumerate(answers):
            color = "white" if grid[y][x] > 0.5 else "black"
            axes.text(x, y, str(counts[gold, answer]), ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(answers)), [str(answer or NO_ANSWER) for answer in answers])
    axes.set_yticks(range(len(golds)), [str(gold) for gold in golds])
    axes.set(xlabel="answer", ylabel="gold", title="confusion (shade: share of the gold place)")


def _reliability(axes: Any, measured: Calibration) -> None:
    """Accuracy over confidence with Wilson's intervals; the bars at the foot are the share of the rows."""
    centres = [(one.low + one.high) / 2 for one in measured.bins]
    axes.bar(centres, [one.accuracy.total / measured.rows for one in measured.bins], width=0.09, color="0.85")
    confidence = [one.confidence for one in measured.bins]
    shares = [one.accuracy.share or 0.0 for one in measured.bins]
    spans = [one.accuracy.interval for one in measured.bins]
    below = [max(0.0, share - low) for share, (low, _) in zip(shares, spans, strict=True)]
    above = [max(0.0, high - share) for share, (_, high) in zip(shares, spans, strict=True)]
    axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
    axes.errorbar(confidence, shares, yerr=(below, above), marker="o", linewidth=1.2, capsize=3, clip_on=False)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="confidence",
        ylabel="right (grey: share of the rows)",
        title=f"reliability (ECE {measured.ece:.3f})",
    )
    axes.grid(alpha=0.3)
