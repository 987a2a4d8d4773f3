"""The commands that what is being written may become."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from tui.commands import ARGUMENTS, completions
from tui.words import words

_MOST = 6


class CommandHints(Static):
    """Stands above the prompt while a command is being written."""

    def __init__(self) -> None:
        super().__init__(id="command-hints")
        self.display = False

    def follow(self, text: str) -> None:
        """Show what `text` may become."""
        names = completions(text)
        self.display = bool(names)
        if names:
            lines = [f"/{name} {ARGUMENTS.get(name, '')}".strip() for name in names]
            width = max(map(cell_len, lines))
            rows = [
                Content.assemble(
                    (line.ljust(width), "bold $primary"), (f"   {words().command_help[name]}", "$foreground 60%")
                )
                for line, name in zip(lines, names, strict=True)
            ]
            more = [Content.styled(f"… {len(rows) - _MOST}", "$foreground 60%")] if len(rows) > _MOST else []
            self.update(Content("\n").join([*rows[:_MOST], *more]))
