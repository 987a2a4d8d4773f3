"""The exam room: a sheet is opened, looked at, answered, and the answers are those of `runtime predict`."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.events import Paste
from textual.widgets import Input, OptionList, Static

from configs.exam import Question
from runtime.batch import PredictRun
from runtime.engine import ModelOptions
from runtime.scripted import ScriptedEngine
from tests import tiny
from tests.runtime import make_gguf
from tests.tui.driving import status, until
from tests.tui.exams import FORMATS, Broken, Examinee, exam, lines_of, reach, room, table, write_sheet
from tui.exam.board import Facts
from tui.exam.settings import ExamSettings
from tui.screens.exam_choices import ChooserScreen
from tui.screens.exam_question import QuestionScreen, question_content
from tui.screens.exam_room import State
from tui.widgets.exam_head import ExamHead
from tui.words import choose, words

QUESTIONS = tiny.questions(60)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real header: formats, identity and journal come from it; the engine is scripted."""
    folder = tmp_path_factory.mktemp("exam-model")
    return make_gguf.model(folder / "tiny.gguf", tiny.tokenizer(folder), formats=FORMATS)


@pytest.fixture
def settings(gguf: Path, tmp_path: Path) -> ExamSettings:
    sheet = write_sheet(tmp_path / "卷.csv", QUESTIONS)
    return ExamSettings(ModelOptions(gguf), sheet, tmp_path / "a.csv", data_folder=tmp_path / "data")


def plain(settings: ExamSettings, engine: ScriptedEngine, output: Path) -> bytes:
    """What `runtime predict` writes."""
    assert settings.sheet is not None
    run = PredictRun(replace(settings.run_of(settings.sheet, settings.sheet_columns), output=output), engine.load)
    list(run)
    return output.read_bytes()


def details(app: Any) -> str:
    """What there is to say of the sheet and its run."""
    card = room(app).query_one("#exam-details", Static)
    return str(card.content) if card.display else ""


async def sit(pilot: Any) -> None:
    """Answer to the end."""
    await pilot.press("space")
    await reach(pilot, State.DONE)


# Before the run


async def test_a_sheet_is_shown_before_anything_is_computed(settings: ExamSettings, tmp_path: Path) -> None:
    async with exam(settings, engine := Examinee(QUESTIONS)) as (app, _):
        assert "passage: 文章" in details(app)
        assert "key: 正確答案" in details(app)
        assert "60 rows" in details(app)
        assert QUESTIONS[0].question in lines_of(app)[1]
        assert status(app).state == words().exam.ready
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


# Looking


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
        await pilot.press("1", "o")
        margins = [board.rows[place].answer.margin for place in table(app).places]
        assert margins == sorted(margins)


async def test_the_mouse_chooses_opens_and_filters(settings: ExamSettings) -> None:
    async with exam(settings, Examinee(QUESTIONS)) as (app, pilot):
        await sit(pilot)
        await pilot.click("#questions", offset=(20, 3))
        assert table(app).cursor == 2
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
        assert table(app).cursor == 3


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


async def test_text_of_a_sheet_is_never_markup(gguf: Path, tmp_path: Path) -> None:
    hostile = "[/b] [@click=app.quit]按[/] [INST] \x1b[2J\x07 [red]紅"
    rows = [Question(hostile, hostile, (hostile, "[b]", "\x1b]0;x\x07", "丁"), 1)]
    sheet = write_sheet(tmp_path / "[b]卷[@click=app.quit].csv", rows, ids=[f"[/x]{hostile}"])
    settings = ExamSettings(ModelOptions(gguf), sheet, tmp_path / "[o].csv", columns="full", data_folder=tmp_path)
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


# Sheets that are chosen


async def test_without_a_sheet_one_is_chosen_from_a_folder(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sheet(tmp_path / "甲.csv", QUESTIONS[:5])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    write_sheet(tmp_path / "folder" / "[乙].csv", QUESTIONS[:7])
    async with exam(ExamSettings(ModelOptions(gguf), data_folder=tmp_path), Examinee(), opened=False) as (app, pilot):
        assert words().exam.no_sheet in details(app)
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
        await until(pilot, lambda: status(app).hint == words().exam.busy)
        await pilot.press("escape")
        engine.go.set()
        await reach(pilot, State.READY)
        for text in (f"'{other}' ", str(other).replace(" ", "\\ "), other.as_uri()):
            app.screen.post_message(Paste(text))
            await until(pilot, lambda: app.screen.board.count(Facts.ALL) == 5 and room(app).state is State.READY)
            app.screen.post_message(Paste(str(settings.sheet)))
            await until(pilot, lambda: app.screen.board.count(Facts.ALL) == 60 and room(app).state is State.READY)


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
