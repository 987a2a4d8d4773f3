"""The two models in memory, or one of them where both do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.engine import Engine
    from tui.settings import Load


class Engines:
    """Loads a model when it is needed, and frees it when the other one needs its place. For one thread.

    Args:
        together: whether both may stay loaded.
    """

    def __init__(self, loads: tuple[Load, Load], *, together: bool) -> None:
        self._loads = loads
        self._together = together
        self._engines: list[Engine | None] = [None, None]

    def loaded(self, side: int) -> bool:
        """Whether a model is in memory."""
        return self._engines[side] is not None

    def get(self, side: int, on_progress: Callable[[float], bool]) -> Engine:
        """The loaded model.

        Args:
            on_progress: told 0..1 while it loads; False gives it up.

        Raises:
            ToolError: it cannot be loaded, or the load was given up.
        """
        if (engine := self._engines[side]) is not None:
            return engine
        if not self._together:
            self.free(1 - side)
        loaded = self._engines[side] = self._loads[side](on_progress)
        return loaded

    def free(self, side: int) -> None:
        """Give a model back."""
        if (engine := self._engines[side]) is not None:
            self._engines[side] = None
            engine.close()

    def close(self) -> None:
        """Give both back."""
        self.free(0)
        self.free(1)
