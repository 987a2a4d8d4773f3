"""Which ways fit, and the cheapest of them. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainer.planning.parts import Parts, Way

# Cheap is what trains quickly. Unquantized weights are the quickest to use; computing activations twice costs a third
# of a step; 4-bit weights are unpacked for every product, 8-bit ones take more steps for that; an offloaded optimizer
# crosses the bus once a step, an offloaded base several times a pass.
_SPEED = {16: 1.0, 4: 1.6, 8: 2.2}
_TWICE = 1.33
_OFFLOADED_OPTIMIZER = 1.05
_OFFLOADED_BASE = 4.0
_ZERO = 1.02


@dataclass(frozen=True, slots=True)
class Option:
    """One way to train with one preset, and what it takes."""

    preset: str
    way: Way
    checkpointing: bool
    max_length: int
    parts: Parts

    @property
    def cost(self) -> float:
        """Time of a step, where the quickest way takes 1."""
        cost = _SPEED[self.way.bits] * (_TWICE if self.checkpointing else 1)
        cost *= _ZERO if self.way.zero is not None else 1
        cost *= _OFFLOADED_OPTIMIZER if self.way.offloads("optimizer") else 1
        return cost * (_OFFLOADED_BASE if self.way.offloads("param") else 1)

    def fits(self, device: int, host: int) -> bool:
        """Whether a device and a host of so many bytes hold it."""
        return self.parts.device_total <= device and self.parts.host_total <= host


def cheapest(options: Iterable[Option], device: int, host: int) -> Option | None:
    """Of those that fit the option with the longest rows, then the quickest, then the smallest; None if none fits."""
    return min(
        (option for option in options if option.fits(device, host)),
        key=lambda option: (-option.max_length, option.cost, option.parts.device_total),
        default=None,
    )
