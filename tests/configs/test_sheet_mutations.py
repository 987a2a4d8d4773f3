"""Damaged sheets: the reader never dies by a signal nor with a traceback; each gets one sentence, or rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.configs import sheet_mutants

# In a child process, for a signal would end this one. It says what it is about to read before it reads it.
_READER = """
import json, sys
from pathlib import Path
from configs.errors import ConfigError
from configs.sheets import read_questions
for line in sys.stdin:
    path = Path(line.strip())
    print(path.name, end="\\t", flush=True)
    try:
        sheet = read_questions(path, need_answers=False)
        outcome = ["rows", len(sheet.rows), all((row.question is None) == bool(row.error) for row in sheet.rows)]
        json.dumps([[row.id, row.error, row.warnings] for row in sheet.rows], ensure_ascii=False).encode()
    except ConfigError as error:
        outcome = ["refused", str(error)]
    print(json.dumps(outcome), flush=True)
"""


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_no_damaged_sheet_ends_the_reader(tmp_path: Path, count: int) -> None:
    paths = list(sheet_mutants.write(tmp_path, count, seed=count))
    done = subprocess.run(
        [sys.executable, "-P", "-c", _READER],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]} {done.stderr[-2000:]}"
    outcomes = [json.loads(line.partition("\t")[2]) for line in lines]
    assert len(outcomes) == count
    for path, outcome in zip(paths, outcomes):
        if outcome[0] == "rows":
            assert outcome[1] > 0, path
            assert outcome[2], path
        else:
            assert path.name in outcome[1]
            assert "\n" not in outcome[1], outcome
            assert len(outcome[1]) < 400, outcome
    kinds = {outcome[0] for outcome in outcomes}
    assert kinds == {"rows", "refused"}
