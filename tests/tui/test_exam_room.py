"""The exam room: a sheet is opened and answered, and the answers are those of `runtime predict`."""

from __future__ import annotations

import csv
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static

from configs.exam import Question
from runtime.batch import PredictRun
from runtime.engine import ModelOptions
from tests import tiny
from tests.runtime import make_gguf
from tests.tui.driving import status, until
from tests.tui.exams import (
    FORMATS,
    Broken,
    Examinee,
    details,
    exam,
    lines_of,
    plain,
    reach,
    room,
    sit,
    write_sheet,
)
from tui.exam.board import Facts
from tui.exam.settings import ExamSettings
from tui.screens.exam_room import State
from tui.widgets.exam_head import ExamHead
from tui.words import words

QUESTIONS = tiny.questions(60)


# Before the run


async def test_a_sheet_is_shown_before_anything_is_computed(settings: ExamSettings, tmp_path: Path) -> None:
    async with exam(settings, engine := Examinee(QUESTIONS)) as (app, _):
        assert "passage: 文章" in details(app)
        assert "key: 正確答案" in details(app)
        assert "60 rows" in details(app)
        assert QUESTIONS[0].question in lines_of(app)[1]
        assert status(app).state == "Space starts"
    assert engine.loads == 0
    assert {path.name for path in tmp_path.iterdir()} == {"卷.csv", "data"}


async def test_bad_rows_are_shown_with_their_reason_before_the_run(settings: ExamSettings, tmp_path: Path) -> None:
    rows = [*QUESTIONS[:3], Question("", "誰？", ("甲", "乙", "丙", "丁")), Question("文", "誰？", ("甲", "", "", ""))]
    rows.append(replace(QUESTIONS[4], choices=(*QUESTIONS[4].choices[:3], ""), answer=1))
    write_sheet(tmp_path / "卷.csv", rows)
    async with exam(settings, Examinee()) as (app, pilot):
        assert "2 cannot be answered" in details(app)
        assert "1 with a remark" in details(app)
        await pilot.press("5")
        shown = lines_of(app)
        assert [line.split()[0] for line in shown[1:3]] == ["4", "5"]
        assert "the passage is missing" in shown[1]
        assert "fewer than two options" in shown[2]
        await pilot.press("enter")
        assert "the passage is missing" in str(app.screen.query_one("#question-text", Static).content)
        assert "誰？" in str(app.screen.query_one("#question-text", Static).content)  # the cells as they are
        await pilot.press("escape", "1")
        await sit(pilot)
        assert app.screen.board.count(Facts.BAD) == 2
        assert "2 unanswered" in details(app)


async def test_a_sheet_whose_columns_are_unknown_can_be_told_them_in_the_room(
    settings: ExamSettings, tmp_path: Path
) -> None:
    text = (tmp_path / "卷.csv").read_text(encoding="utf-8-sig").replace("文章", "故事")
    (tmp_path / "卷.csv").write_text(text, encoding="utf-8")
    async with exam(settings, Examinee(), opened=False) as (app, pilot):
        await until(pilot, lambda: "unknown column '故事'" in details(app))
        await pilot.press("space")  # there is nothing to answer
        assert room(app).state is State.EMPTY
        await pilot.press("c")
        app.screen.query_one(Input).value = "passage=故事"
        await pilot.press("enter")
        await reach(pilot, State.READY)
        assert "passage: 故事" in details(app)
        await sit(pilot)
    assert (tmp_path / "a.csv").exists()


async def test_a_model_that_carries_no_format_ends_the_program_with_that_sentence(
    settings: ExamSettings, tmp_path: Path
) -> None:
    bare = make_gguf.model(tmp_path / "bare.gguf", tiny.tokenizer(tmp_path / "v"))
    async with exam(replace(settings, options=ModelOptions(bare)), Examinee(), opened=False) as (app, pilot):
        await until(pilot, lambda: app.failure is not None)
        assert "--prompt-format" in str(app.failure)
        assert app.return_code == 2


# The run


@pytest.mark.parametrize("columns", ["kaggle", "full"])
async def test_the_answers_are_byte_for_byte_those_of_predict(
    settings: ExamSettings, tmp_path: Path, columns: Any
) -> None:
    settings = replace(settings, columns=columns, debias="cyclic")
    async with exam(settings, Examinee(QUESTIONS)) as (_, pilot):
        await sit(pilot)
    assert (tmp_path / "a.csv").read_bytes() == plain(settings, Examinee(QUESTIONS), tmp_path / "b.csv")


async def test_live_accuracy_is_that_of_the_csv_and_has_its_interval(settings: ExamSettings, tmp_path: Path) -> None:
    settings = replace(settings, columns="full")
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await sit(pilot)
        shown = str(room(app).query_one(ExamHead).render())
        accuracy = app.screen.board.accuracy
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        graded = [(row["Answer"], row["Gold"]) for row in csv.DictReader(file)]
    right = sum(answer == gold for answer, gold in graded)
    assert 0 < right < 60
    assert (accuracy.correct, accuracy.total) == (right, 60)
    assert f"accuracy {right / 60:.1%} ({right} of 60; 95 %: " in shown
    z, share = 1.959964, right / 60
    centre, half = share + z**2 / 120, z * (share * (1 - share) / 60 + z**2 / (4 * 60**2)) ** 0.5
    low, high = ((centre + sign * half) / (1 + z**2 / 60) for sign in (-1, 1))
    assert f"{100 * low:.1f}–{100 * high:.1f} %" in shown


async def test_a_pause_holds_still_and_going_on_loses_and_repeats_nothing(
    settings: ExamSettings, tmp_path: Path
) -> None:
    engine = Examinee(QUESTIONS)
    engine.hold_at = 20
    async with exam(settings, engine) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 20)
        await pilot.press("space")
        assert status(app).state == words().exam.pausing
        engine.go.set()
        await reach(pilot, State.PAUSED)
        await pilot.pause(0.3)
        assert engine.answered == app.screen.board.count(Facts.DONE) == 21
        assert len((tmp_path / "a.csv.journal.jsonl").read_text().splitlines()) == 2 + 21
        await pilot.press("space")
        await reach(pilot, State.DONE)
    assert engine.answered == 60
    assert engine.loads == 1
    assert (tmp_path / "a.csv").read_bytes() == plain(settings, Examinee(QUESTIONS), tmp_path / "b.csv")


@pytest.mark.parametrize("key", ["space", "escape"])
async def test_a_pause_and_a_stop_do_not_wait_until_every_question_is_measured(
    settings: ExamSettings, key: str
) -> None:
    engine = Examinee(QUESTIONS)
    plainly, quick = engine.tokenizer.plain, threading.Event()

    def slowly(text: str) -> list[int]:
        quick.wait(0.05)
        return plainly(text)

    engine.tokenizer.plain = slowly  # type: ignore[method-assign]
    async with exam(settings, engine) as (_, pilot):
        await pilot.press("space")
        await reach(pilot, State.MEASURING)
        await pilot.press(key)
        await reach(pilot, State.PAUSED if key == "space" else State.READY)
        assert not quick.is_set()
        assert engine.answered == 0
        quick.set()
        await sit(pilot)
    assert engine.answered == 60


async def test_a_stopped_run_goes_on_here_and_elsewhere(settings: ExamSettings, tmp_path: Path) -> None:
    engine = Examinee(QUESTIONS)
    engine.hold_at = 20
    async with exam(settings, engine) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 20)
        await pilot.press("escape")
        engine.go.set()
        await reach(pilot, State.READY)
        assert "in the journal" in details(app)
        assert engine.closed
        assert app.screen.board.count(Facts.DONE) == 21
        assert not (tmp_path / "a.csv").exists()
    other = Examinee(QUESTIONS)  # finished by the command
    assert plain(settings, other, tmp_path / "a.csv") == plain(settings, Examinee(QUESTIONS), tmp_path / "b.csv")
    assert other.answered == 60 - 21


async def test_what_the_command_began_is_finished_in_the_room(settings: ExamSettings, tmp_path: Path) -> None:
    assert settings.sheet is not None
    begun = PredictRun(settings.run_of(settings.sheet, ""), Examinee(QUESTIONS).load)
    events = iter(begun)
    for event in events:
        if event.done == 25:
            break
    events.close()
    async with exam(settings, engine := Examinee(QUESTIONS)) as (app, pilot):
        assert "25 are in the journal already" in details(app)
        assert app.screen.board.count(Facts.DONE) == 25
        await sit(pilot)
        assert "35 computed, 25 from the journal, 0 unanswered" in details(app)
    assert engine.answered == 35
    assert (tmp_path / "a.csv").read_bytes() == plain(settings, Examinee(QUESTIONS), tmp_path / "b.csv")


async def test_stopping_a_restart_and_starting_again_goes_on(settings: ExamSettings, tmp_path: Path) -> None:
    plain(settings, Examinee(QUESTIONS), tmp_path / "a.csv")
    engine = Examinee(QUESTIONS)
    engine.hold_at = 30
    async with exam(replace(settings, restart=True), engine) as (app, pilot):
        assert app.screen.board.count(Facts.DONE) == 0
        await pilot.press("space")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 30)
        await pilot.press("escape")
        engine.go.set()
        await reach(pilot, State.READY)
        await sit(pilot)
        assert "29 computed, 31 from the journal" in details(app)
    assert engine.answered == 60


async def test_another_models_journal_is_forgotten_only_when_the_person_says_so(
    settings: ExamSettings, tmp_path: Path
) -> None:
    plain(settings, Examinee(QUESTIONS), tmp_path / "a.csv")
    before = (tmp_path / "a.csv").read_bytes(), (tmp_path / "a.csv.journal.jsonl").read_bytes()
    other = make_gguf.model(tmp_path / "other.gguf", tiny.tokenizer(tmp_path / "v"), formats=FORMATS, seed=1)
    async with exam(replace(settings, options=ModelOptions(other)), engine := Examinee()) as (app, pilot):
        assert "belongs to a run with other model" in details(app)
        await pilot.press("space")
        await reach(pilot, State.READY)
        await pilot.press("r", "n")
        assert ((tmp_path / "a.csv").read_bytes(), (tmp_path / "a.csv.journal.jsonl").read_bytes()) == before
        assert engine.loads == 0
        await pilot.press("r", "y")
        await until(pilot, lambda: room(app).state is State.READY and "belongs" not in details(app))
        assert (tmp_path / "a.csv").read_bytes() == before[0]  # not before there is something to put in its place
        await sit(pilot)
        assert engine.answered == 60
        await pilot.press("space")  # and not again
        await until(pilot, lambda: "was already made" in details(app))
    assert engine.answered == 60
    assert (tmp_path / "a.csv").read_bytes() != before[0]


async def test_loading_can_be_given_up_and_begun_again(settings: ExamSettings) -> None:
    engine = Examinee(QUESTIONS, load_seconds=60)
    async with exam(settings, engine) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: (status(app).load_fraction or 0) > 0 or engine.loads == 1)
        assert status(app).state == words().exam.loading
        await pilot.press("escape")
        await reach(pilot, State.READY)
        engine.load_seconds = 0
        await sit(pilot)
    assert engine.loads == 2


async def test_a_lock_held_by_another_run_is_told_in_a_sentence(settings: ExamSettings, tmp_path: Path) -> None:
    assert settings.sheet is not None
    other = iter(PredictRun(settings.run_of(settings.sheet, ""), Examinee(QUESTIONS).load))
    next(other)
    next(other)
    async with exam(settings, engine := Examinee(QUESTIONS)) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: "another run is writing" in details(app))
        assert room(app).state is State.READY
        assert engine.loads == 0
        other.close()
        await sit(pilot)


async def test_an_engine_that_does_not_load_leaves_the_room_open(settings: ExamSettings) -> None:
    async with exam(settings, Broken()) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: "no memory for this model" in details(app))
        assert room(app).state is State.READY


async def test_another_csv_in_the_way_is_not_replaced(settings: ExamSettings, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine")
    async with exam(settings, Examinee(), opened=False) as (app, pilot):
        await until(pilot, lambda: "--overwrite" in details(app))
    assert (tmp_path / "a.csv").read_text() == "mine"


async def test_rows_that_do_not_fit_are_bad_while_the_run_goes_on(settings: ExamSettings, tmp_path: Path) -> None:
    write_sheet(tmp_path / "卷.csv", [replace(QUESTIONS[0], passage="長" * 3000), *QUESTIONS[1:20]])
    engine = Examinee(QUESTIONS, context_size=1500)
    engine.hold_at = 10
    async with exam(settings, engine) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 10)
        await pilot.press("5")
        assert "tokens, longer than" in lines_of(app)[1]
        engine.go.set()
        await reach(pilot, State.DONE)
        assert app.screen.board.count(Facts.BAD) == 1


async def test_a_sheet_of_people_is_counted_right_and_has_its_time_left(settings: ExamSettings, tmp_path: Path) -> None:
    """200 rows with a header over two columns, passages over two rows, blank rows, and labels however they are typed."""
    import openpyxl

    questions = tiny.questions(200)
    workbook = openpyxl.Workbook()
    page = workbook.active
    page.append(["題號", "文章", "問題", *(f"選項{place}" for place in range(1, 5)), "正確答案"])
    page.merge_cells("H1:I1")
    for number, row in enumerate(questions):
        typed = (row.answer, f"({'ABCD'[row.answer - 1]})", "ＡＢＣＤ"[row.answer - 1], f"選項{row.answer}")[number % 4]
        page.append([f"Ａ{number}", row.passage if number % 2 == 0 else None, row.question, *row.choices, typed])
        if number % 2:
            page.merge_cells(start_row=page.max_row - 1, end_row=page.max_row, start_column=2, end_column=2)
        if number % 20 == 19:
            page.append([None] * 8)
    workbook.save(tmp_path / "人.xlsx")
    engine = Examinee(questions)
    engine.hold_at = 120
    settings = replace(settings, sheet=tmp_path / "人.xlsx", columns="full")
    async with exam(settings, engine) as (app, pilot):
        board = app.screen.board
        assert (board.count(Facts.ALL), board.count(Facts.BAD), board.has_key) == (200, 0, True)
        await pilot.press("space")
        await until(pilot, lambda: board.count(Facts.DONE) == 120)
        head = str(room(app).query_one(ExamHead).render())
        assert all(part in head for part in (" 60%", "120 of 200", "/s", " left"))
        assert board.accuracy.total == 120
        engine.go.set()
        await reach(pilot, State.DONE)
        accuracy = board.accuracy
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Gold"] for row in rows] == [str(row.answer) for row in questions]
    assert accuracy.correct == sum(row["Answer"] == row["Gold"] for row in rows)
    assert accuracy.total == len(rows) == 200
