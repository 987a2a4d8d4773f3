"""`docs/tui-checks.md` names tests: they are there."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).parent
_DOCUMENT = _HERE.parents[1] / "docs" / "tui-checks.md"


def test_every_check_has_a_line_and_every_test_it_names_exists() -> None:
    rows = re.findall(r"^\| (\d+)\*? \|.*\| (.*) \|$", _DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 33))
    for number, tests in rows:
        named = re.findall(r"`(\w+)::(\w+)`", tests)
        assert named, number
        for file, test in named:
            source = (_HERE / f"{file}.py").read_text(encoding="utf-8")
            assert re.search(rf"^(?:async )?def {test}\(", source, re.MULTILINE), f"{number}: {file}::{test}"
