"""The last line of the screen: what the model does, how full its context is, how fast it writes."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui.keys import keyed
from tui.text import visible
from tui.words import words
from tui.words.rows import Row

_BAR_CELLS = 16
_FULL_FROM = 0.8


class StatusLine(Widget):
    """Draws itself in the width there is, the important part first.

    Args:
        keys: the keys to name on the right, the most important last.
    """

    state: reactive[str] = reactive("")
    """What the model does, in a word."""
    load_fraction: reactive[float | None] = reactive(None)
    """0..1 while the model loads."""
    elapsed_s: reactive[int] = reactive(0)
    """Whole seconds that the present state has lasted; 0 is not shown."""
    context_used: reactive[int] = reactive(0)
    """Tokens."""
    context_size: reactive[int] = reactive(0)
    """Tokens; 0 before the model is loaded."""
    drops: reactive[int] = reactive(0)
    """How many more turns the message that is being written would push out of the context."""
    speed: reactive[float] = reactive(0.0)
    """Tokens per second of the newest reply; 0 is not shown."""
    hint: reactive[str] = reactive("")
    """A sentence for the person, in place of everything else."""

    def __init__(self, keys: Sequence[Row] = (), *scopes: str) -> None:
        """`keys`: the hints at the right; the chat's own unless given. Those that stay longest come last.

        `scopes`: whose keys they are (see `tui.keys`).
        """
        super().__init__(id="status-line")
        self._keys = keys
        self._scopes = scopes or ("chat", "prompt")

    def render(self) -> Content:
        width = self.size.width
        if self.hint:
            return _fit([Content.styled(" ".join(visible(self.hint).split()), "$warning")], width)
        parts = [self._state_part()]
        if self.load_fraction is not None:
            parts.append(_load_bar(self.load_fraction))
        if self.context_size:
            parts.append(self._context_part())
        if self.drops:
            turns = words().turns(self.drops)
            parts.append(Content.styled(words().will_drop.format(turns=turns), "$warning"))
        if self.speed:
            parts.append(Content.styled(f"{self.speed:.1f} tokens/s", "$foreground 60%"))
        left = _fit(parts, width)
        return left + _right_hint(keyed(self._keys or words().keys_hint, *self._scopes), width - left.cell_length)

    def _state_part(self) -> Content:
        seconds = f" {self.elapsed_s} s" if self.elapsed_s else ""
        style = "$success" if self.state == words().ready else "$accent"
        return Content.styled(f"{self.state}{seconds}", style)

    def _context_part(self) -> Content:
        share = self.context_used / self.context_size
        style = "$warning" if share >= _FULL_FROM else "$foreground 60%"
        return Content.styled(f"{words().context} {self.context_used:,} / {self.context_size:,} ({share:.0%})", style)


def _load_bar(fraction: float) -> Content:
    filled = round(min(max(fraction, 0.0), 1.0) * _BAR_CELLS)
    return Content.assemble(
        ("━" * filled, "$primary"), ("━" * (_BAR_CELLS - filled), "$panel-lighten-1"), f" {fraction:4.0%}"
    )


def _fit(parts: list[Content], width: int) -> Content:
    """Join as many parts as the width holds; the first is cut rather than left out."""
    line = parts[0].truncate(max(width, 1), ellipsis=True)
    for part in parts[1:]:
        longer = Content("   ").join([line, part])
        if longer.cell_length > width:
            break
        line = longer
    return line


def _right_hint(keys: Sequence[Row], room: int) -> Content:
    """The keys, as many as fit on the right; quit and help stay longest."""
    for first in range(len(keys)):
        hint = Content("  ").join(
            Content.assemble((key, "bold $primary"), (f" {meaning}", "$foreground 60%"))
            for key, meaning in keys[first:]
        )
        if hint.cell_length + 3 <= room:
            return Content(" " * (room - hint.cell_length)) + hint
    return Content("")
