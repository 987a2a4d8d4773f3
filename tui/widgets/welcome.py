"""What an empty conversation shows."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui import words


class Welcome(Static):
    """The model's name and the keys to begin with."""

    def __init__(self, model_label: str) -> None:
        keys = [
            Content.assemble((f"{key:>7}", "bold $primary"), (f"  {meaning:<9}", "$foreground 60%"))
            for key, meaning in words.KEYS_HINT
        ]
        super().__init__(
            Content.assemble(
                (f"{model_label}\n", "bold $accent"),
                (f"{words.WELCOME}\n\n", "$foreground 60%"),
                Content("\n").join(keys),
            ),
            id="welcome",
        )
