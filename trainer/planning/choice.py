"""Which ways fit, and the cheapest of them. No torch."""

from __future__ import annotations

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


def cheapest(options: list[Option], device: int, host: int, favourite: str) -> Option | None:
    """The quickest option of the favourite preset that fits, else of another; None where nothing fits.

    Rows cut shorter than their preset has them are a last resort, whatever they would save.
    """
    longest: dict[str, int] = {}
    for option in options:
        longest[option.preset] = max(option.max_length, longest.get(option.preset, 0))
    return min(
        (option for option in options if option.fits(device, host)),
        key=lambda option: (
            longest[option.preset] / option.max_length,
            option.preset != favourite,
            option.cost,
            option.parts.device_total,
        ),
        default=None,
    )
