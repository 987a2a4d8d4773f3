"""What the best evaluation says beyond its accuracy: whether its probabilities are honest, and source by source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from configs.accuracy import Accuracy
from configs.calibration import measure
from trainer.evaluation import Answered


def validation_report(rows: Sequence[Answered]) -> dict[str, Any] | None:
    """Accuracy with its interval, calibration and sources as training.json has them; None without rows."""
    probabilities = measure([row.forecast for row in rows])
    if probabilities is None:
        return None
    calibration, hint = probabilities.calibration, probabilities.hint
    sources: dict[str, list[Answered]] = {}
    for row in rows:
        sources.setdefault(row.source or "unknown", []).append(row)
    return {
        **_accuracy(rows),
        "ece": calibration.ece,
        "brier": calibration.brier,
        "log_loss": calibration.log_loss,
        "confidence": calibration.confidence,
        "temperature": hint.temperature if hint else None,
        "ece_at_temperature": hint.ece if hint else None,
        "sources": {name: _accuracy(members) for name, members in sorted(sources.items())} if len(sources) > 1 else {},
    }


def _accuracy(rows: Sequence[Answered]) -> dict[str, Any]:
    accuracy = Accuracy(sum(row.is_right for row in rows), len(rows))
    return {
        "rows": accuracy.total, "correct": accuracy.correct, "accuracy": accuracy.share, "interval": accuracy.interval,
    }  # fmt: skip
