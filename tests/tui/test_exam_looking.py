"""Looking at an exam: filters, search, one question, in several languages; nothing of a sheet is markup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input, Static

from configs.exam import Question
from runtime.engine import ModelOptions
from tests import tiny
from tests.tui.driving import status, until
from tests.tui.exams import Examinee, details, exam, lines_of, reach, room, sit, table, write_sheet
from tui.exam.board import Facts
from tui.exam.settings import ExamSettings
from tui.keys import use_keys
from tui.screens.exam_question import QuestionScreen, question_content
from tui.screens.exam_room import State
from tui.words import choose, words

QUESTIONS = tiny.questions(60)


async def test_filters_show_what_they_say(settings: ExamSettings) -> None:
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await sit(pilot)
        board = app.screen.board
        wrong = [place for place, row in enumerate(board.rows) if row.answer.place != row.row.question.answer]
        unsure = [
            place
            for place, row in enumerate(board.rows)
            if max(row.answer.probabilities) < 0.5 or row.answer.margin < 0.1 or row.answer.warnings
        ]
        assert 0 < len(wrong) < 60
        assert 0 < len(unsure) < 60
        for key, places in (("2", wrong), ("3", unsure), ("4", list(range(60))), ("5", []), ("1", list(range(60)))):
            await pilot.press(key)
            assert list(table(app).places) == places
            assert board.count(room(app)._kind) == len(places)
        await pilot.press("5")
        assert words().exam.nothing_here in lines_of(app)[1]
        await pilot.press("left", "left")
        assert list(table(app).places) == unsure
        await pilot.press("1", "home", *["down"] * 5)
        chosen = table(app).places[5]
        await pilot.press("4")
        assert table(app).places[table(app).chosen] == chosen  # the cursor stays on its row
        await pilot.press("o")
        assert table(app).chosen == 0  # and goes to what the person asked for
        margins = [board.rows[place].answer.margin for place in table(app).places]
        assert margins == sorted(margins)


async def test_the_mouse_chooses_opens_and_filters(settings: ExamSettings) -> None:
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await sit(pilot)
        await pilot.click("#questions", offset=(20, 3))
        assert table(app).chosen == 2
        await pilot.click("#questions", offset=(20, 3))
        assert isinstance(app.screen, QuestionScreen)
        await pilot.press("escape")
        filters = str(app.screen.query_one("#filters").render())
        await pilot.click("#filters", offset=(2 + filters.index("wrong"), 0))
        assert len(table(app).places) == app.screen.board.count(Facts.WRONG)


async def test_an_id_or_a_text_is_found(settings: ExamSettings) -> None:
    async with exam(settings, Examinee()) as (app, pilot):
        for text, places in (("10007", [6]), (QUESTIONS[11].passage[3:], [10, 11]), ("", list(range(60)))):
            await pilot.press("slash")
            app.screen.query_one(Input).value = text
            await pilot.press("enter")
            assert list(table(app).places) == places


async def test_a_wrong_question_opened_shows_everything_and_steps_through_the_filter(settings: ExamSettings) -> None:
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await sit(pilot)
        await pilot.press("2", "down", "enter")
        assert isinstance(app.screen, QuestionScreen)
        place = table(app).places[1]
        question, answer = QUESTIONS[place], room(app).board.rows[place].answer
        text = str(app.screen.query_one("#question-text", Static).content)
        for part in (question.passage, question.question, *question.choices, words().exam.wrong):
            assert part in text
        for share in answer.probabilities:
            assert f"{share:6.1%}" in text
        bars = [line.count("█") for line in text.splitlines() if "─" in line or "█" in line]
        assert bars == [round(30 * share) for share in answer.probabilities]
        lines = text.splitlines()
        assert lines[lines.index("") :]
        assert next(line for line in lines if line.endswith(words().exam.key)).startswith(f"{question.answer}  ")
        assert next(line for line in lines if line.endswith(words().exam.answer)).startswith(f"{answer.place}  ")
        await pilot.press("right", "right", "escape")
        assert table(app).chosen == 3


async def test_a_question_asked_in_several_orders_says_how_many_would_answer_otherwise(settings: ExamSettings) -> None:
    async with exam(replace(settings, debias="cyclic"), Examinee()) as (app, pilot):
        await sit(pilot)
        rate = app.screen.board.rows[0].answer.flip_rate
        assert f"would answer otherwise: {rate:.0%}" in str(question_content(app.screen.board, 0))


async def test_an_open_question_is_renewed_when_its_answer_comes(settings: ExamSettings) -> None:
    engine = Examinee(QUESTIONS)
    engine.hold_at = 0
    async with exam(settings, engine) as (app, pilot):
        await pilot.press("space", "enter")
        await pilot.pause()
        shown: Callable[[], str] = lambda: str(app.screen.query_one("#question-text", Static).content)  # noqa: E731
        assert words().exam.waiting in shown()
        engine.go.set()
        await until(pilot, lambda: words().exam.waiting not in shown())
        assert "%" in shown()


async def test_text_of_a_sheet_is_never_markup(exam_model: Path, tmp_path: Path) -> None:
    hostile = "[/b] [@click=app.quit]按[/] [INST] \x1b[2J\x07 [red]紅"
    rows = [Question(hostile, hostile, (hostile, "[b]", "\x1b]0;x\x07", "丁"), 1)]
    sheet = write_sheet(tmp_path / "[b]卷[@click=app.quit].csv", rows, ids=[f"[/x]{hostile}"])
    settings = ExamSettings(ModelOptions(exam_model), sheet, tmp_path / "[o].csv", columns="full", data_folder=tmp_path)
    async with exam(settings, Examinee()) as (app, pilot):
        assert "[/b] [@click=app.quit]按[/] [INS" in lines_of(app)[1]
        await sit(pilot)
        await pilot.press("enter")
        text = str(app.screen.query_one("#question-text", Static).content)
        assert text.count("[@click=app.quit]按[/]") == 3
        assert "\x1b" not in text + "".join(lines_of(app))
        await pilot.press("escape", "e", "enter")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.click("#exam-sheet")
        app.refresh(recompose=False)
        await pilot.pause()
        assert app.is_running
    assert sum(path.suffix == ".csv" for path in tmp_path.iterdir()) == 2


# Words


@pytest.mark.parametrize("language", ["zh-Hant", "zh-Hans"])
async def test_the_room_speaks_chinese(settings: ExamSettings, language: str) -> None:
    choose(language)
    async with exam(settings, Examinee(QUESTIONS), size=(80, 24)) as (app, pilot):
        await sit(pilot)
        assert words().exam.heads[2] in lines_of(app)[0]
        assert f"{words().exam.filters[1]} {app.screen.board.count(Facts.WRONG)}" in str(
            app.screen.query_one("#filters").render()
        )
        await pilot.press("enter")
        assert words().exam.passage in str(question_content(room(app).board, 0))


async def test_help_lists_the_rooms_keys(settings: ExamSettings) -> None:
    async with exam(settings, Examinee()) as (app, pilot):
        await pilot.press("f1")
        shown = str(app.screen.query_one("#help-card Static", Static).content)
        assert all(key in shown and meaning in shown for key, meaning in words().exam.help_keys)


async def test_keys_of_ones_own_work_and_are_named(settings: ExamSettings) -> None:
    use_keys({"exam.run": "f5", "exam.stop": "f6"})
    async with exam(settings, engine := Examinee(QUESTIONS)) as (app, pilot):
        assert status(app).state == "F5 starts"
        assert "F5 start" in str(status(app).render())
        engine.hold_at = 3
        await pilot.press("space", "f5")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 3)
        await pilot.press("f6")
        engine.go.set()
        await reach(pilot, State.READY)
        assert "F5 goes on" in details(app)
