"""Copies text to where the person can paste it, as far as that can be known."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from configs.atomic import write_text
from tui.words import words

FILE_NAME = "copied.txt"
_TMUX_S = 2.0
_FENCE = re.compile(
    r"^(?P<mark>`{3,}|~{3,})[^\n]*\n(?P<code>.*?)(?:^(?P=mark)[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)


def copy(text: str, folder: Path, osc52: Callable[[str], None], environment: Mapping[str, str] = os.environ) -> str:
    """Copy a text, and return the sentence that says where it is.

    A terminal never confirms the escape sequence OSC 52, and tmux drops it as it is delivered: tmux is asked directly,
    and the text is in a file besides.
    """
    path = folder / FILE_NAME
    write_text(path, text)
    osc52(text)
    copied_to_tmux = "TMUX" in environment and _load_tmux_buffer(text)
    return (words().copied_tmux if copied_to_tmux else words().copied).format(file=path)


def last_code_block(text: str) -> str | None:
    """What stands in the last fence of a reply, an unclosed one too."""
    blocks = [match["code"] for match in _FENCE.finditer(text)]
    return blocks[-1].removesuffix("\n") if blocks else None


def _load_tmux_buffer(text: str) -> bool:
    """Fill tmux's buffer, which it passes on to the terminal's clipboard where it may (`-w`)."""
    try:
        done = subprocess.run(
            ["tmux", "load-buffer", "-w", "-"], input=text.encode(), capture_output=True, timeout=_TMUX_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
