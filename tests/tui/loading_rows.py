"""Paints forty rows, each once, while llama.cpp loads a model: `python -m tests.tui.loading_rows M.gguf`.

Whatever is painted while a library has the terminal's descriptors for itself is lost for good.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from textual.app import App, ComposeResult
from textual.widgets import Static

from runtime.engine import ModelOptions, load_engine

ROWS = 40


class Rows(App[None]):
    """Says `loaded` at the end, below the rows."""

    CSS = "Static { height: 1; }"

    def __init__(self, model: Path) -> None:
        super().__init__()
        self._model = model
        self._painted = 0

    def compose(self) -> ComposeResult:
        for row in range(ROWS):
            yield Static(f"row {row}", id=f"row{row}")
        yield Static("loading", id="state")

    def on_mount(self) -> None:
        threading.Thread(target=self._load, daemon=True).start()
        self.set_interval(0.02, self._paint)

    def _paint(self) -> None:
        if self._painted < ROWS:
            self.query_one(f"#row{self._painted}", Static).update(f"row {self._painted} painted")
            self._painted += 1

    def _load(self) -> None:
        load_engine(ModelOptions(model=self._model)).close()
        self.call_from_thread(self.query_one("#state", Static).update, "loaded")


if __name__ == "__main__":
    Rows(Path(sys.argv[1])).run()
