"""What an empty conversation shows."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from tui.keys import keyed
from tui.words import words


class Welcome(Static):
    """The model's name and the keys to begin with."""

    def __init__(self, model_label: str) -> None:
        hints = keyed(words().keys_hint, "chat", "prompt")
        longest = max(cell_len(meaning) for _, meaning in hints)
        rooms = [longest - cell_len(meaning) for _, meaning in hints]
        keys = [
            Content.assemble(
                (f"{key:>7}  ", "bold $primary"), Content.styled(meaning, "$foreground 60%").pad_right(room)
            )
            for (key, meaning), room in zip(hints, rooms, strict=True)
        ]
        super().__init__(
            Content.assemble(
                (f"{model_label}\n", "bold $accent"),
                (f"{words().welcome}\n\n", "$foreground 60%"),
                Content("\n").join(keys),
            ),
            id="welcome",
        )
