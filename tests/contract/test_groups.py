"""Tests of one group run on one worker: what they share is made once, and no two of them train at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_GROUPED = """
import os, time, pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(4))
def test_it(number):
    time.sleep(0.1)
    open(os.environ["PYTEST_XDIST_WORKER"], "a").close()
"""


def test_a_group_stays_on_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_grouped.py").write_text(_GROUPED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("gw*"))) == 1
