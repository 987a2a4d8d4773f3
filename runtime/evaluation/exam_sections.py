"""An exam's grades as tables for people."""

from __future__ import annotations

from configs.accuracy import Accuracy
from configs.calibration import Calibration, Probabilities, TemperatureHint
from runtime.evaluation.bias import flips, median_label_mass, recall_deviation, recalls
from runtime.evaluation.exam import Evaluation
from runtime.evaluation.sections import Section
from runtime.paired import Comparison

NO_ANSWER = "-"

_NOTABLE = 0.005
"""Of the expected calibration error: a temperature that changes less is not worth a word."""


def sections(
    evaluation: Evaluation, probabilities: Probabilities | None, comparison: Comparison | None
) -> list[Section]:
    """As a person would read it."""
    found = [
        Section(evaluation.accuracy.sentence(), tuple(_complaints(evaluation))),
        _confusion_section(evaluation),
    ]
    if probabilities:
        found.append(_calibration_section(evaluation, probabilities))
    found += _flip_sections(evaluation)
    if evaluation.group_column:
        rows = tuple((name or NO_ANSWER, *_accuracy_cells(group)) for name, group in evaluation.groups().items())
        found.append(Section(f"by {evaluation.group_column}", (), ("", "right", "rows", "accuracy", "95 %"), rows))
    return [*found, *(_comparison_sections(comparison) if comparison else ())]


def places(evaluation: Evaluation) -> list[int | None]:
    """The places that occur, and None for no answer."""
    found = {place for pair in evaluation.confusion for place in pair if place is not None}
    return [*range(1, max(found, default=0) + 1), None]


def _confusion_section(evaluation: Evaluation) -> Section:
    named = places(evaluation)
    found = recalls(evaluation)
    deviation = recall_deviation(evaluation)
    counts = evaluation.confusion
    rows = [
        (
            str(gold),
            *(str(counts[gold, place]) for place in named),
            _percent(found[gold].share) if gold in found else NO_ANSWER,
        )
        for gold in named
        if gold is not None
    ]
    notes = () if deviation is None else (f"recall differs by {100 * deviation:.1f} points between places (RStd)",)
    header = ("gold \\ answer", *(str(place or NO_ANSWER) for place in named), "recall")
    return Section("confusion", notes, header, tuple(rows), plot="confusion")


def _calibration_section(evaluation: Evaluation, probabilities: Probabilities) -> Section:
    measured, hint = probabilities.calibration, probabilities.hint
    rows = tuple(
        (
            f"{one.low:.1f}–{one.high:.1f}",
            str(one.accuracy.total),
            f"{one.confidence:.3f}",
            _percent(one.accuracy.share),
        )
        for one in measured.bins
    )
    notes = [
        f"ECE {measured.ece:.3f}, Brier {measured.brier:.3f}, log loss {measured.log_loss:.3f} nats, "
        f"mean confidence {measured.confidence:.1%}, on {measured.rows} rows",
        *([_hint_sentence(measured, hint)] if hint else []),
    ]
    mass = median_label_mass(evaluation)
    notes += [f"the labels get {mass:.2%} of the probability in the median row"] if mass is not None else []
    return Section("calibration", tuple(notes), ("confidence", "rows", "mean", "right"), rows, plot="reliability")


def _hint_sentence(measured: Calibration, hint: TemperatureHint) -> str:
    if hint.log_loss >= measured.log_loss:
        return "no temperature makes the probabilities more honest on rows that it was not fitted on"
    if measured.ece - hint.ece < _NOTABLE:
        return "the probabilities are as honest as a temperature could make them"
    lean = "too sure" if hint.temperature > 1 else "too modest"
    return (
        f"the probabilities are {lean}: temperature {hint.temperature:.2f} would change ECE from {measured.ece:.3f} "
        f"to {hint.ece:.3f} (each half of the rows scaled by the other half's temperature)"
    )


def _flip_sections(evaluation: Evaluation) -> list[Section]:
    found = flips(evaluation)
    if not found:
        return []
    note = f"another option wins in {found.rate:.1%} of the orders"
    rows = (("steady", *_accuracy_cells(found.steady)), ("flipping", *_accuracy_cells(found.flipping)))
    return [Section("order of the options", (note,), ("rows", "right", "all", "accuracy", "95 %"), rows)]


def _comparison_sections(comparison: Comparison) -> list[Section]:
    low, high = comparison.interval
    notes = (
        f"accuracy differs by {100 * comparison.difference:+.1f} points "
        f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f})",
        f"McNemar: p = {comparison.p_exact:.4g} exact, {comparison.p_mid:.4g} mid-p",
    )
    table = (
        ("this right", str(comparison.both_right), str(comparison.only_first)),
        ("this wrong", str(comparison.only_second), str(comparison.both_wrong)),
    )
    differing = tuple(
        (one.id, str(one.gold), str(one.first or NO_ANSWER), str(one.second or NO_ANSWER))
        for one in comparison.disagreements
    )
    return [
        Section("against the other run", notes, ("", "other right", "other wrong"), table),
        Section(f"{len(differing)} rows are answered differently", (), ("ID", "gold", "this", "other"), differing),
    ]


def _complaints(evaluation: Evaluation) -> list[str]:
    lines = []
    if evaluation.answers != evaluation.questions:
        lines.append(f"the CSV has {evaluation.answers} rows, the sheet {evaluation.questions}")
    for ids, what in (
        (evaluation.missing, "rows of the sheet have no answer in the CSV"),
        (evaluation.extra, "rows of the CSV are not in the sheet"),
        (evaluation.without_label, "rows of the sheet have no readable label"),
        (evaluation.unnamed, "answers name no option (other labels than 1, 2, … or A, B, …: --question-format)"),
    ):
        if ids:
            lines.append(f"{len(ids)} {what}: {', '.join(ids[:10])}{', …' if len(ids) > 10 else ''}")
    return lines


def _accuracy_cells(accuracy: Accuracy) -> tuple[str, ...]:
    low, high = accuracy.interval
    return (
        str(accuracy.correct),
        str(accuracy.total),
        _percent(accuracy.share),
        f"{100 * low:.1f}–{100 * high:.1f}" if accuracy.total else NO_ANSWER,
    )


def _percent(share: float | None) -> str:
    return NO_ANSWER if share is None else f"{share:.1%}"
