"""A sheet with everything that can be wrong with a row: each row has its status, and none stops the run."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest

from configs.exam import QuestionFormat
from tests import tiny
from tests.configs import sheet_mutants

HEADER = ["編號", "文章", "問題", "選項1", "選項2", "選項3", "選項4", "答案"]
GOOD = ["小明說到秋天。", "誰？", "甲", "乙", "丙", "丁", 1]

DEFECTS: dict[str, tuple[list[object], str]] = {
    "good": (GOOD, "warning: "),
    "no passage": ([None, *GOOD[1:]], "error: the passage is missing"),
    "blank passage": ([" \n\t", *GOOD[1:]], "error: the passage is missing"),
    "no question": ([GOOD[0], None, *GOOD[2:]], "error: the question is missing"),
    "one option": ([*GOOD[:2], "甲", None, None, None, 1], "error: fewer than two options"),
    "formula": (["=B2", *GOOD[1:]], "error: the passage holds a formula that was never calculated"),
    "too long": (["長" * 3000, *GOOD[1:]], "longer than the context of 2048"),
    "blank option": ([*GOOD[:3], None, *GOOD[4:]], "option 2 is blank"),
    "same options": ([*GOOD[:3], "甲", *GOOD[4:]], "options 1 and 2 are the same"),
    "same by conversion": ([*GOOD[:2], "李乾國", "李幹國", "丙", "丁", 1], "not converted by t2s"),
    "control characters": (["甲_x0000_乙", *GOOD[1:]], "control characters removed from the passage"),
    "label out of range": ([*GOOD[:6], 9], "the label '9' is not one of the 4 options"),
    "label of no option": ([*GOOD[:6], "無"], "the label '無' names no option"),
    "label of a blank option": ([*GOOD[:3], None, "丙", "丁", 2], "the label '2' names a blank option"),
    "number options": ([*GOOD[:2], 0.15, 26, 3.5, -7, 1], "warning: "),
}


def test_every_defect_has_its_status_and_none_stops_the_run(models: Path, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(HEADER)
    for number, (cells, _) in enumerate(DEFECTS.values(), 1):
        book.active.append([number, *cells])
    book.save(tmp_path / "s.xlsx")
    labels = QuestionFormat.load("formosa").with_convert("t2s")
    (tmp_path / "format.toml").write_text(labels.to_toml(), encoding="utf-8")
    flags = ["--question-format", tmp_path / "format.toml", "--columns", "full", "--json", "--threads", 1]
    code, out, err = tiny.run_cli(
        "runtime.cli", "predict", tmp_path / "s.xlsx", "--model", models / "model.gguf", "--output", tmp_path / "a.csv", *flags
    )  # fmt: skip
    summary = json.loads(out)
    assert code == 1
    assert "Traceback" not in err
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, (name, (cells, status)) in zip(rows, DEFECTS.items(), strict=True):
        assert status in row["Status"], name
        assert bool(row["Answer"]) == (not row["Status"].startswith("error")), name
        blank = [place for place, cell in enumerate(cells[2:6], 1) if cell is None]
        assert row["Answer"] not in map(str, blank), name
    unanswered = sum(row["Status"].startswith("error") for row in rows)
    assert unanswered == summary["unanswered"] == len(summary["errors"]) == 6
    assert summary["computed"] == len(rows) - unanswered


_COMMAND = """
import contextlib, io, sys
from runtime.cli import main
model, *paths = sys.argv[1:]
for number, path in enumerate(paths):
    print(path.rpartition("/")[2], end=" ", flush=True)
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        try:
            code = main(["predict", path, "--model", model, "--output", f"{path}.answers", "--columns", "full", "--threads", "1"])
        except SystemExit as error:
            code = error.code
    last = err.getvalue().strip().splitlines() or [""]
    print(code, "Traceback" in err.getvalue(), len(err.getvalue().strip().splitlines()), last[-1].replace("\\n", " "), flush=True)
"""


@pytest.mark.parametrize("count", [10, pytest.param(500, marks=pytest.mark.slow)])
def test_the_command_survives_damaged_sheets(models: Path, tmp_path: Path, count: int) -> None:
    paths = [str(path) for path in sheet_mutants.write(tmp_path, count, seed=count)]
    words = [sys.executable, "-P", "-c", _COMMAND, str(models / "model.gguf"), *paths]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()})  # noqa: PTH109
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]} {done.stderr[-2000:]}"
    assert len(lines) == count
    codes = []
    for line in lines:
        name, code, trace, said, last = line.split(" ", 4)
        codes.append(int(code))
        assert trace == "False", line
        if code == "2":
            assert (said, name in last) == ("1", True), line  # one sentence, and it names the file
        else:
            assert code in ("0", "1"), line
    assert {0, 2} <= set(codes)
