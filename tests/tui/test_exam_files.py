"""Sheets that are chosen or dropped, and answers that are exported."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.widgets import Input, OptionList

from runtime.batch import PredictRun
from runtime.engine import ModelOptions
from tests import tiny
from tests.tui.driving import status, until
from tests.tui.exams import (
    Examinee,
    details,
    exam,
    plain,
    reach,
    room,
    sit,
    write_sheet,
)
from tui.exam.board import Facts
from tui.exam.settings import ExamSettings
from tui.screens.exam_choices import ChooserScreen
from tui.screens.exam_room import State

QUESTIONS = tiny.questions(60)


async def test_without_a_sheet_one_is_chosen_from_a_folder(
    exam_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sheet(tmp_path / "甲.csv", QUESTIONS[:5])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    write_sheet(tmp_path / "folder" / "[乙].csv", QUESTIONS[:7])
    async with exam(ExamSettings(ModelOptions(exam_model), data_folder=tmp_path), Examinee(), opened=False) as (
        app,
        pilot,
    ):
        assert "No sheet yet. Ctrl+O" in details(app)
        await pilot.press("space")
        assert isinstance(app.screen, ChooserScreen)
        names = [path.name for path in app.screen._shown]
        assert names[1:] == ["folder", "甲.csv"]
        app.screen.query_one(Input).value = "fold"
        await pilot.pause()
        assert app.screen.query_one(OptionList).option_count == 1
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("enter")
        await reach(pilot, State.READY)
        assert len(app.screen.board.rows) == 7
        await sit(pilot)
    assert (tmp_path / "[乙].answers.csv").exists()


async def test_the_named_sheet_keeps_its_output_however_it_is_opened_again(
    settings: ExamSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with exam(replace(settings, sheet=Path("卷.csv"), output=Path("a.csv")), Examinee()) as (app, pilot):
        await pilot.press("ctrl+o")
        app.screen.query_one(Input).value = "卷"
        await pilot.pause()
        await pilot.press("enter")
        await reach(pilot, State.READY)
        await sit(pilot)
    assert {path.name for path in tmp_path.iterdir()} == {"卷.csv", "a.csv", "a.csv.journal.jsonl", "data"}


async def test_a_dropped_sheet_is_opened_and_not_while_a_run_goes_on(
    settings: ExamSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = write_sheet(tmp_path / "another one.csv", QUESTIONS[:5])
    engine = Examinee(QUESTIONS)
    engine.hold_at = 3
    async with exam(settings, engine) as (app, pilot):
        app.screen.post_message(Paste(f"'{tmp_path}/no such.csv'"))
        await until(pilot, lambda: "is no sheet" in status(app).hint)
        await pilot.press("space")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 3)
        app.screen.post_message(Paste(f"'{other}'"))
        await until(pilot, lambda: status(app).hint == "A run goes on: Esc stops it first.")
        await pilot.press("escape")
        engine.go.set()
        await reach(pilot, State.READY)
        for text in (f"'{other}' ", str(other).replace(" ", "\\ "), other.as_uri()):
            app.screen.post_message(Paste(text))
            await until(pilot, lambda: app.screen.board.count(Facts.ALL) == 5 and room(app).state is State.READY)
            app.screen.post_message(Paste(str(settings.sheet)))
            await until(pilot, lambda: app.screen.board.count(Facts.ALL) == 60 and room(app).state is State.READY)


async def test_a_sheet_that_was_changed_meanwhile_is_shown_again_before_it_is_answered(
    settings: ExamSettings, tmp_path: Path
) -> None:
    engine = Examinee(QUESTIONS)
    engine.hold_at = 10
    async with exam(settings, engine) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 10)
        await pilot.press("escape")
        engine.go.set()
        await reach(pilot, State.READY)
        write_sheet(tmp_path / "卷.csv", QUESTIONS[30:40] + QUESTIONS[:20])
        await pilot.press("space")
        await until(pilot, lambda: "has changed since it was opened" in details(app))
        assert [row.row.question for row in app.screen.board.rows] == QUESTIONS[30:40] + QUESTIONS[:20]
        assert engine.loads == 1
        await sit(pilot)
        changed = replace(settings, output=tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == plain(changed, Examinee(QUESTIONS), tmp_path / "b.csv")


async def test_starting_over_leaves_a_csv_that_the_command_knows_as_its_own(
    settings: ExamSettings, tmp_path: Path
) -> None:
    assert settings.sheet is not None
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await sit(pilot)
        await pilot.press("r", "y")
        await until(pilot, lambda: room(app).state is State.READY and app.screen.board.count(Facts.DONE) == 0)
        await sit(pilot)
        await pilot.press("c", "enter")  # nothing was named, nothing is read anew
        await pilot.pause()
        assert room(app).state is State.DONE
    again = PredictRun(settings.run_of(settings.sheet, ""), Examinee(QUESTIONS).load)
    assert not list(again)
    assert again.summary is not None
    assert again.summary.already_made


async def test_columns_that_cannot_be_read_are_refused_in_a_sentence(settings: ExamSettings) -> None:
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        for text, said in (("passage", "is not ROLE=COLUMN"), ("passage=無", "has no column '無'")):
            await pilot.press("c")
            app.screen.query_one(Input).value = text
            await pilot.press("enter")
            await until(pilot, lambda: said in details(app))  # noqa: B023
            assert room(app).state is State.EMPTY


async def test_a_sheet_is_chosen_from_the_palette(settings: ExamSettings) -> None:
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await pilot.press("ctrl+p")
        await pilot.pause(0.2)
        await pilot.press(*"open a sheet")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChooserScreen))


# Export


@pytest.mark.parametrize(("line", "columns"), [(0, "kaggle"), (1, "full")])
async def test_an_export_of_a_finished_run_is_what_the_run_itself_would_have_written(
    settings: ExamSettings, tmp_path: Path, line: int, columns: Any
) -> None:
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await sit(pilot)
        await pilot.press("e", *["down"] * line, "enter")
        await pilot.pause()
        assert app.screen.query_one(Input).value == str(tmp_path / f"a.{columns}.csv")
        await pilot.press("enter")
        await until(pilot, lambda: "60 of them answered" in status(app).hint)
    written = (tmp_path / f"a.{columns}.csv").read_bytes()
    assert written == plain(replace(settings, columns=columns), Examinee(QUESTIONS), tmp_path / "b.csv")
    assert written.startswith(b"\xef\xbb\xbf") is (columns == "full")


async def test_the_wrong_rows_alone_are_exported_and_nothing_is_replaced_unasked(
    settings: ExamSettings, tmp_path: Path
) -> None:
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await sit(pilot)
        await pilot.press("2", "e", "down", "down", "enter")
        await pilot.pause()
        app.screen.query_one(Input).value = str(tmp_path / "錯題.csv")
        await pilot.press("enter")
        await until(pilot, lambda: "錯題.csv" in status(app).hint)
        wrong = app.screen.board.count(Facts.WRONG)
        before = (tmp_path / "錯題.csv").read_bytes()
        for target, answer in ((tmp_path / "錯題.csv", "n"), (tmp_path / "a.csv", "y")):
            kept = target.read_bytes()
            await pilot.press("e", "enter")
            await pilot.pause()
            app.screen.query_one(Input).value = str(target)
            await pilot.press("enter")
            await pilot.pause()
            await pilot.press(answer)
            await pilot.pause(0.3)
            assert target.read_bytes() == kept
        assert "written by the run itself" in status(app).hint
    with (tmp_path / "錯題.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert before == (tmp_path / "錯題.csv").read_bytes()
    assert len(rows) == wrong
    assert all(row["Answer"] != row["Gold"] for row in rows)


async def test_an_export_in_the_middle_says_what_is_not_computed(settings: ExamSettings, tmp_path: Path) -> None:
    engine = Examinee(QUESTIONS)
    engine.hold_at = 20
    async with exam(settings, engine) as (app, pilot):
        await pilot.press("space")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 20)
        await pilot.press("e", "down", "enter")
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: "20 of them answered" in status(app).hint)
        engine.go.set()
        await reach(pilot, State.DONE)
    with (tmp_path / "a.full.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["Status"] == "error: not computed" for row in rows) == 40
    assert sum(bool(row["Answer"]) for row in rows) == 20
