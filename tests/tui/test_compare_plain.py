"""Two models compared without a screen."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError, ToolError
from configs.sheets import SheetRow
from runtime.engine import Sampling
from runtime.scripted import ScriptedEngine
from tests.tui.comparing import Examinee, loads, prepared, settings_for, sheet_rows
from tui.compare_launch import compare_with


class Pipe(io.TextIOWrapper):
    """What the other end of a pipe has written."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def compare(
    engines: Sequence[ScriptedEngine],
    monkeypatch: pytest.MonkeyPatch,
    stdin: Any = None,
    *,
    rows: Sequence[SheetRow] = (),
    together: bool = True,
    as_json: bool = False,
    **options: Any,
) -> tuple[int, str, str]:
    """Compare without a screen; returns (exit code, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    code = compare_with(
        settings_for(Path("unused"), **options),
        lambda: prepared(rows=rows, together=together, notes=("a note",)),
        loads(engines),
        as_json=as_json,
    )
    assert all(engine.closed for engine in engines)
    return code, out.getvalue(), err.getvalue()


def test_a_pipe_is_asked_of_both_and_stdout_holds_both_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = [ScriptedEngine(["答案是 2。\x1b[31m"]), ScriptedEngine(["答案是 3。"])]
    code, out, err = compare(engines, monkeypatch, Pipe("問題\n"), sampling=Sampling(seed=5))
    assert code == 0
    assert out.index("答案是 2。␛[31m") < out.index("答案是 3。")
    assert "in common, the first 4 characters" in out
    assert "\x1b" not in out + err
    assert "a note" in err
    assert "seed 5" in err


def test_json_holds_what_a_program_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = [ScriptedEngine(["same"], tokens_per_second=1000), ScriptedEngine(["same"])]
    code, out, _ = compare(engines, monkeypatch, prompt="問題", as_json=True)
    table = json.loads(out)
    assert code == 0
    assert table["same"] is True
    assert table["prompt"] == "問題"
    assert isinstance(table["seed"], int)
    assert [model["text"] for model in table["models"]] == ["same", "same"]
    assert table["models"][0]["tokens_per_second"] == pytest.approx(1000)


def test_typed_lines_are_asked_one_by_one_and_a_model_that_fits_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = [ScriptedEngine(["a"]), ScriptedEngine(["b"])]
    code, out, err = compare(engines, monkeypatch, Terminal("one\n\ntwo\n/quit\nthree\n"))
    assert code == 0
    assert [len(engine.prompts) for engine in engines] == [2, 2]
    assert err.count("loading A") == 1
    code, out, err = compare(engines, monkeypatch, Terminal("one\ntwo\n"), together=False)
    assert err.count("loading A") == 2
    assert out.count("== ") == 6


def test_nothing_to_ask_is_an_error_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin in (None, Pipe(" \n")):
        with pytest.raises(ConfigError, match="standard input"):
            compare([ScriptedEngine(["a"])] * 2, monkeypatch, stdin)


def test_a_failing_model_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolError, match="out of breath"):
        compare([ScriptedEngine(["a b"], error="out of breath"), ScriptedEngine(["b"])], monkeypatch, Pipe("x"))


def test_a_sheet_gives_the_verdict_and_the_rows_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sheet_rows(20)
    engines = [Examinee(rows, lambda at: at == 3), Examinee(rows, lambda at: at in (3, 7))]
    options = {"rows": rows, "sheet": Path("s.xlsx")}
    code, out, err = compare(engines, monkeypatch, **options)
    assert code == 0
    assert "accuracy 95.0% (19 of 20" in out
    assert "the same answer to 95.0% (19 of 20)" in out
    (line,) = [line for line in out.splitlines() if line.startswith("row ")]
    assert line.startswith("row 8 (ID 8): A ")
    assert "A answers" in err
    _, out, _ = compare(engines, monkeypatch, as_json=True, **options)
    table = json.loads(out)
    assert (table["only_first_right"], table["only_second_right"], table["mcnemar_p"]) == (1, 0, 1.0)
    assert [one["row"] for one in table["disagreements"]] == [8]
    assert [model["accuracy"] for model in table["models"]] == [0.95, 0.9]


def test_a_row_without_an_answer_is_named_and_the_exit_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*sheet_rows(4), SheetRow(5, "五", None, "the question is missing")]
    engines = [Examinee(rows, lambda at: False), Examinee(rows, lambda at: False)]
    code, out, _ = compare(engines, monkeypatch, rows=rows, sheet=Path("s.xlsx"))
    assert code == 1
    assert "row 5 (ID 五): A has no answer: the question is missing" in out
