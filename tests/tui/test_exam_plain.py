"""`tui predict` without a screen, and its command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from configs.exam import Question
from runtime.engine import ModelOptions
from tests import tiny
from tests.runtime import make_gguf
from tests.tiny import run_cli
from tests.tui.exams import FORMATS, write_sheet
from tui.cli import build_parser
from tui.exam.dropped import path_of
from tui.exam.pace import Pace
from tui.exam.settings import exam_settings


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain-model")
    return make_gguf.model(folder / "tiny.gguf", tiny.tokenizer(folder), formats=FORMATS)


def test_every_flag_reaches_the_run(gguf: Path, tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path / "卷.csv", tiny.questions(2))
    line = (
        f"predict {sheet} --model {gguf} --output o.csv --columns full --debias pride --fallback 3 --sheet-columns "
        "passage=文章 --encoding big5 --restart --overwrite --adapter a.gguf=0.5 --threads 2 --ctx-size 512"
    )
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    args = build_parser().parse_args(line.replace("a.gguf", str(tmp_path / "a.gguf")).split())
    settings = exam_settings(args)
    run = settings.run_of(sheet, settings.sheet_columns, restart=settings.restart)
    assert (run.sheet, run.output, run.columns, run.debias, run.fallback) == (
        sheet,
        Path("o.csv"),
        "full",
        "pride",
        "3",
    )
    assert (run.restart, run.overwrite, run.sheet_columns, run.encoding) == (True, True, {"passage": "文章"}, "big5")
    assert run.model == ModelOptions(gguf, adapters=((tmp_path / "a.gguf", 0.5),), threads=2, ctx_size=512)
    other = settings.run_of(tmp_path / "[二].xlsx", "")
    assert (other.output, other.overwrite, other.encoding) == (Path("[二].answers.csv"), False, "")
    assert (other.columns, other.debias, other.model) == (run.columns, run.debias, run.model)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.xlsx"], "none.xlsx does not exist"),
        (["."], "is a folder"),
        (["{model}"], "none of xlsx"),
        (["--output", "a.csv"], "belongs to no sheet"),
        ([], "no sheet is named"),
    ],
)
def test_a_sheet_that_is_none_is_refused_in_a_sentence(gguf: Path, words: list[str], sentence: str) -> None:
    filled = [word.format(model=gguf) for word in words]
    code, out, err = run_cli("tui.cli", "predict", *filled, "--model", gguf)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert sentence in err


def test_a_path_is_read_however_it_was_dropped() -> None:
    wanted = Path("/data/試題 (1)/it's [b].xlsx")
    for text in (
        "/data/試題 (1)/it's [b].xlsx",
        "'/data/試題 (1)/it'\\''s [b].xlsx' ",
        "/data/試題\\ \\(1\\)/it\\'s\\ \\[b\\].xlsx",
        '"/data/試題 (1)/it\'s [b].xlsx"',
        "file:///data/%E8%A9%A6%E9%A1%8C%20(1)/it's%20%5Bb%5D.xlsx",
    ):
        assert path_of(text) == wanted, text
    assert path_of("~/a.csv") == Path.home() / "a.csv"
    assert path_of('"C:\\my sheets\\a.xlsx"', windows=True) == Path("C:\\my sheets\\a.xlsx")
    for text in ("", " \n", "a\nb", "a\0b"):
        assert path_of(text) is None


def test_speed_and_the_time_left_leave_pauses_out() -> None:
    now = [100.0]
    pace = Pace(lambda: now[0])
    pace.begin(10)
    assert (pace.speed, pace.left_s(100)) == (0.0, None)
    for done in range(11, 31):
        now[0] += 0.5
        pace.note(done)
    assert pace.speed == pytest.approx(2)
    assert pace.left_s(100) == pytest.approx(35)
    pace.pause()
    now[0] += 1000
    assert pace.left_s(100) == pytest.approx(35)
    pace.resume()
    now[0] += 0.5
    pace.note(31)
    assert pace.speed == pytest.approx(2)
    for done in range(32, 200):  # slower from here on: only the last minute counts
        now[0] += 4
        pace.note(done)
    assert pace.speed == pytest.approx(0.25, rel=0.02)


@pytest.mark.slow
def test_a_pipe_gets_what_runtime_predict_says_and_writes(gguf: Path, tmp_path: Path) -> None:
    rows = [*tiny.questions(9), Question("", "誰？", ("甲", "乙", "丙", "丁"))]
    rows[3] = replace(rows[3], choices=(*rows[3].choices[:3], ""), answer=1)
    ids = ["\x1b[2J[/b]", *map(str, range(9))]
    sheet = write_sheet(tmp_path / "卷.csv", rows, ids=ids[::-1])
    words = [sheet, "--model", gguf, "--columns", "full", "--threads", "1", "--output"]
    code, out, err = run_cli("tui.cli", "predict", *words, tmp_path / "a.csv")
    other_code, _, other_err = run_cli("runtime.cli", "predict", *words, tmp_path / "b.csv")
    assert code == other_code == 1  # a row is unanswered
    assert out == ""
    assert "\x1b" not in err + other_err
    assert err.splitlines()[0] == "loading tiny.gguf ..."
    told = [line for line in err.splitlines()[1:] if not line.startswith("answering")]
    assert told == [
        line.replace("b.csv", "a.csv")
        for line in other_err.splitlines()
        if not line.startswith(("answering", "loading"))
    ]
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    code, _, err = run_cli("tui.cli", "predict", *words, tmp_path / "a.csv")
    assert code == 1
    assert "was already made from the same inputs" in err
