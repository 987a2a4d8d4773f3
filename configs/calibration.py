"""Whether probabilities mean what they say: reliability bins, ECE, Brier score, and the temperature that would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from configs.accuracy import Accuracy
from configs.atomic import sha256_text

_FLOOR = 5e-7
"""Half of the last decimal of the CSV: what a share written as 0.000000 may have been."""
_TEMPERATURES = 0.05, 20.0
_HALVINGS = 20
"""Of the range of their logarithms: six orders of magnitude, more digits than anybody reads."""
MIN_ROWS = 200
"""A temperature fitted on fewer rows says more about the rows than about the model."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The probabilities of one question's options that can be chosen, and which of them is right."""

    probabilities: tuple[float, ...]
    chosen: int
    """Index of the answer given."""
    gold: int
    """Index of the right option."""

    @property
    def confidence(self) -> float:
        return self.probabilities[self.chosen]


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose confidence lies in (low, high]."""

    low: float
    high: float
    confidence: float
    """Mean."""
    accuracy: Accuracy


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the probabilities of the chosen options are from how often they are right."""

    rows: int
    ece: float
    """Expected calibration error over ten bins of equal width (Guo et al. 2017), 0 at best."""
    brier: float
    """Squared distance of the probabilities from the truth, summed over options (Brier 1950): 0 at best, 2 at worst."""
    log_loss: float
    """Mean surprise at the right option, in nats."""
    confidence: float
    """Mean probability of the chosen option."""
    bins: tuple[Bin, ...]
    """Those that hold answers."""


@dataclass(frozen=True, slots=True)
class TemperatureHint:
    """Dividing log-probabilities by `temperature` makes them most honest; above 1 they were too sure."""

    temperature: float
    ece: float
    """Of each half of the rows, scaled by the temperature fitted on the other."""
    log_loss: float


@dataclass(frozen=True, slots=True)
class Probabilities:
    """All that is measured of a run's probabilities."""

    calibration: Calibration
    hint: TemperatureHint | None
    """None below 200 rows."""


def measure(forecasts: Sequence[Forecast]) -> Probabilities | None:
    """Measure the probabilities; None without any."""
    calibration = calibrate(forecasts)
    return Probabilities(calibration, temperature_hint(forecasts)) if calibration else None


def calibrate(forecasts: Sequence[Forecast], bins: int = 10) -> Calibration | None:
    """Measure the probabilities; None without any."""
    if not forecasts:
        return None
    inside: dict[int, list[Forecast]] = {}
    for forecast in forecasts:
        at = max(0, min(bins - 1, math.ceil(forecast.confidence * bins) - 1))
        inside.setdefault(at, []).append(forecast)
    found = tuple(
        Bin(
            low=at / bins,
            high=(at + 1) / bins,
            confidence=_mean([forecast.confidence for forecast in members]),
            accuracy=Accuracy(sum(forecast.chosen == forecast.gold for forecast in members), len(members)),
        )
        for at, members in sorted(inside.items())
    )
    total = len(forecasts)
    return Calibration(
        rows=total,
        ece=math.fsum(abs(one.accuracy.correct - one.confidence * one.accuracy.total) / total for one in found),
        brier=_mean([_squared_distance(forecast) for forecast in forecasts]),
        log_loss=_mean([-math.log(max(forecast.probabilities[forecast.gold], _FLOOR)) for forecast in forecasts]),
        confidence=_mean([forecast.confidence for forecast in forecasts]),
        bins=found,
    )


def temperature_hint(forecasts: Sequence[Forecast]) -> TemperatureHint | None:
    """The temperature that suits these rows best, tried on rows it was not fitted on; None below 200 rows."""
    if len(forecasts) < MIN_ROWS:
        return None
    # By a hash of the place: neighbours in a sheet are alike, and so may be every second row.
    halves: tuple[list[Forecast], list[Forecast]] = ([], [])
    for at, forecast in enumerate(forecasts):
        halves[int(sha256_text(str(at))[-1], 16) % 2].append(forecast)
    scaled = [
        _scaled(forecast, temperature)
        for half, temperature in zip(halves, map(_fit, reversed(halves)), strict=True)
        for forecast in half
    ]
    tried = calibrate(scaled)
    assert tried is not None
    return TemperatureHint(_fit(forecasts), tried.ece, tried.log_loss)


def _fit(forecasts: Sequence[Forecast]) -> float:
    """The temperature of least log loss: its slope over 1/temperature only rises, so halving finds the zero."""
    logs = [([math.log(max(share, _FLOOR)) for share in one.probabilities], one.gold) for one in forecasts]

    def slope(inverse: float) -> float:
        total = 0.0
        for values, gold in logs:
            top = max(values)
            weights = [math.exp((value - top) * inverse) for value in values]
            total += sum(map(float.__mul__, weights, values)) / sum(weights) - values[gold]
        return total

    low, high = (math.log(1 / temperature) for temperature in reversed(_TEMPERATURES))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def _scaled(forecast: Forecast, temperature: float) -> Forecast:
    values = [math.log(max(share, _FLOOR)) / temperature for share in forecast.probabilities]
    weights = [math.exp(value - max(values)) for value in values]
    return Forecast(tuple(weight / sum(weights) for weight in weights), forecast.chosen, forecast.gold)


def _squared_distance(forecast: Forecast) -> float:
    return math.fsum((share - (at == forecast.gold)) ** 2 for at, share in enumerate(forecast.probabilities))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
