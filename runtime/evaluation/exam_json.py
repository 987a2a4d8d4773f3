"""An exam's grades as JSON has them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from configs.accuracy import Accuracy
from configs.calibration import Probabilities
from runtime.evaluation.bias import flips, median_label_mass, recall_deviation, recalls
from runtime.evaluation.exam import Evaluation
from runtime.evaluation.exam_sections import NO_ANSWER, places
from runtime.paired import Comparison


def table(evaluation: Evaluation, probabilities: Probabilities | None, comparison: Comparison | None) -> dict[str, Any]:
    """As JSON would have it."""
    found, counts = places(evaluation), evaluation.confusion
    return {
        "questions": evaluation.questions,
        "answers": evaluation.answers,
        **_accuracy_table(evaluation.accuracy),
        "labels": {str(place): _counts_of(counts, place) for place in found if place is not None},
        "confusion": {
            str(gold): {str(place or NO_ANSWER): counts[gold, place] for place in found}
            for gold in found
            if gold is not None
        },
        "recall": {str(place): recall.share for place, recall in recalls(evaluation).items()},
        "recall_deviation": recall_deviation(evaluation),
        "calibration": _calibration_table(evaluation, probabilities) if probabilities else None,
        "flips": _flip_table(evaluation),
        "group_column": evaluation.group_column or None,
        "groups": {name: _accuracy_table(accuracy) for name, accuracy in evaluation.groups().items()},
        "against": _comparison_table(comparison) if comparison else None,
        "missing": list(evaluation.missing),
        "extra": list(evaluation.extra),
        "without_label": list(evaluation.without_label),
        "unnamed": list(evaluation.unnamed),
    }


def _counts_of(counts: Counter[tuple[int, int | None]], place: int) -> dict[str, int]:
    return {
        "gold": sum(count for (gold, _), count in counts.items() if gold == place),
        "answered": sum(count for (_, answer), count in counts.items() if answer == place),
        "correct": counts[place, place],
    }


def _accuracy_table(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "labelled": accuracy.total,
        "correct": accuracy.correct,
        "accuracy": accuracy.share,
        "interval": list(accuracy.interval) if accuracy.total else None,
    }


def _calibration_table(evaluation: Evaluation, probabilities: Probabilities) -> dict[str, Any]:
    measured, hint = probabilities.calibration, probabilities.hint
    return {
        "rows": measured.rows,
        "ece": measured.ece,
        "brier": measured.brier,
        "log_loss": measured.log_loss,
        "confidence": measured.confidence,
        "bins": [
            {"low": one.low, "high": one.high, "confidence": one.confidence, **_accuracy_table(one.accuracy)}
            for one in measured.bins
        ],
        "temperature": hint.temperature if hint else None,
        "scaled_ece": hint.ece if hint else None,
        "scaled_log_loss": hint.log_loss if hint else None,
        "median_label_mass": median_label_mass(evaluation),
    }


def _flip_table(evaluation: Evaluation) -> dict[str, Any] | None:
    found = flips(evaluation)
    if not found:
        return None
    return {
        "rate": found.rate,
        "steady": _accuracy_table(found.steady),
        "flipping": _accuracy_table(found.flipping),
    }


def _comparison_table(comparison: Comparison) -> dict[str, Any]:
    return {
        "both_right": comparison.both_right,
        "only_first": comparison.only_first,
        "only_second": comparison.only_second,
        "both_wrong": comparison.both_wrong,
        "difference": comparison.difference,
        "interval": list(comparison.interval),
        "p_exact": comparison.p_exact,
        "p_mid": comparison.p_mid,
        "disagreements": [
            {"id": one.id, "gold": one.gold, "first": one.first, "second": one.second}
            for one in comparison.disagreements
        ],
    }
