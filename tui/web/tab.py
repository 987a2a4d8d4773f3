"""What a tab of the browser holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tui.house import HouseApp


@dataclass(frozen=True, slots=True)
class Tab:
    """An app, and what is to be done when it has gone."""

    app: HouseApp
    end_work: Callable[[], object]
    """Waits for the thread behind the app; called in a thread of its own."""
    forget: Callable[[], object]
    """Closes the files of the app; called in the thread that runs it, which is theirs."""
