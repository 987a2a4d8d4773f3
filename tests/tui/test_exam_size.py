"""Ten thousand rows: the room opens, moves, filters and follows a run as if there were ten."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from runtime.engine import ModelOptions
from tests import tiny
from tests.runtime import make_gguf
from tests.tui.driving import until
from tests.tui.exams import FORMATS, Examinee, exam, lines_of, reach, room, table, write_sheet
from tui.exam.board import Board, Facts
from tui.exam.settings import ExamSettings
from tui.screens.exam_room import State

pytestmark = pytest.mark.slow

ROWS = 10_000
SLACK = 3
"""A busy machine's second of processor time does less than a quiet one's."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ExamSettings:
    folder = tmp_path_factory.mktemp("large")
    model = make_gguf.model(folder / "tiny.gguf", tiny.tokenizer(folder), formats=FORMATS)
    few = tiny.questions(100)
    rows = [replace(few[at % 100], passage=f"{few[at % 100].passage}（{at}）") for at in range(ROWS)]
    return ExamSettings(ModelOptions(model), write_sheet(folder / "large.csv", rows), folder / "a.csv")


async def test_ten_thousand_rows_open_and_move_quickly(settings: ExamSettings) -> None:
    begun = time.process_time()
    async with exam(settings, Examinee()) as (app, pilot):
        assert len(table(app).places) == ROWS
        assert "10001" in lines_of(app)[1]
        assert time.process_time() - begun < 2 * SLACK  # read, checked, and painted
        for keys in (
            ["down"] * 10,
            ["pagedown"] * 10,
            ["end"],
            ["home"],
            ["2", "5", "1"],
            ["o"],
            ["enter", "right", "escape"],
        ):
            begun = time.process_time()
            await pilot.press(*keys)
            assert (time.process_time() - begun) / len(keys) < 0.05 * SLACK, keys
        await pilot.press("end")
        assert str(10_000 + ROWS) in "".join(lines_of(app))


async def test_a_run_over_ten_thousand_rows_is_followed_at_most_five_times_a_second(settings: ExamSettings) -> None:
    engine = Examinee()
    engine.hold_at = 900
    async with exam(settings, engine) as (app, pilot):
        drawn: list[float] = []
        renew = table(app).renew
        table(app).renew = lambda places: (drawn.append(time.monotonic()), renew(places))[1]  # type: ignore[method-assign]
        await pilot.press("space")
        await until(pilot, lambda: app.screen.board.count(Facts.DONE) == 900)
        assert len(drawn) <= 5 * (drawn[-1] - drawn[0]) + 2
        begun = time.process_time()
        await pilot.press(*["down"] * 10)
        assert (time.process_time() - begun) / 10 < 0.05 * SLACK
        await pilot.press("escape")
        engine.go.set()
        await reach(pilot, State.READY)
        assert len(room(app).board.rows) == ROWS


def test_a_filter_of_ten_thousand_rows_costs_next_to_nothing() -> None:
    from configs.sheets import SheetRow
    from runtime.answering import Answer
    from runtime.report import AnsweredRow

    questions = tiny.questions(100)
    answer = Answer(1, (0.7, 0.1, 0.1, 0.1), 0.9, 0.6, ())
    rows = [AnsweredRow(SheetRow(at + 1, str(at), questions[at % 100]), None) for at in range(ROWS)]
    board = Board(rows, ("1", "2", "3", "4"))
    begun = time.process_time()
    for first in range(0, ROWS, 100):
        board.put((at, replace(rows[at], answer=answer)) for at in range(first, first + 100))
        board.places(Facts.WRONG)
    assert (time.process_time() - begun) / 100 < 0.01 * SLACK
    assert board.count(Facts.DONE) == ROWS
    assert board.accuracy.total == ROWS
