"""A bar that tells all it knows in the width there is."""

from __future__ import annotations

import io
import re

import pytest

from configs.progress import Progress, Shower

NOTE = "loss 0.1234, accuracy 81.0%, 1,234 tokens/s, 12.3 GiB"


def drawn(columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The line that a terminal of this width shows."""
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = io.StringIO()
    Shower("fit", stream=stream, terminal=True).show(Progress(425, 1_700, "steps", NOTE))
    return stream.getvalue().removeprefix("\r\x1b[K")


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_numbers_have_their_place_before_the_bar(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    line = drawn(columns, monkeypatch)
    assert len(line) < columns
    assert line.endswith(NOTE)
    assert "425/1,700" in line
    assert re.search(r"\d+:\d\d left", line)
    assert len(re.findall("[━─]", line)) == {80: 0, 100: 7, 120: 24, 200: 24}[columns]


def test_a_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(drawn(30, monkeypatch)) == 29
