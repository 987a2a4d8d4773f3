"""Two models on one sheet: what is laid beside each other, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.exam import Question, QuestionFormat
from configs.formats import Formats
from configs.prompt import PromptFormat
from configs.sheets import SheetRow
from runtime.answering import Answer
from runtime.compare import PairedRow, SheetSide, contenders, differences, fit_together, pair_up, verdict
from runtime.engine import ModelOptions
from runtime.report import AnsweredRow
from runtime.scripted import ScriptedEngine
from tests import tiny
from tests.runtime import make_gguf

FORMATS = Formats.load("alpaca2", "formosa")


def row(number: int, gold: int | None = 1) -> SheetRow:
    return SheetRow(number, str(number), Question("文", f"問{number}", ("甲", "乙", "丙"), gold))


def answered(row: SheetRow, place: int, shares: tuple[float, ...] = (0.5, 0.3, 0.2)) -> AnsweredRow:
    return AnsweredRow(row, Answer(place, shares, 1.0, 0.1, ()))


def test_agreement_accuracy_and_mcnemar_are_counted_over_the_rows_both_answered() -> None:
    rows = [row(number) for number in range(1, 9)]
    first = [1, 1, 1, 1, 2, 2, 1, None]
    second = [1, 2, 2, 2, 1, 2, None, 1]
    sides = [
        [answered(one, place) if place else AnsweredRow(one, None, "too long") for one, place in zip(rows, places)]
        for places in (first, second)
    ]
    found = verdict(pair_up(*sides))
    assert (found.rows, found.both, found.differing) == (8, 6, 4)
    assert found.agreement == pytest.approx(2 / 6)
    assert [(one.correct, one.total) for one in found.accuracies] == [(4, 6), (2, 6)]
    assert (found.paired.only_first, found.paired.only_second) == (3, 1)
    # by hand: 2 * (C(4,0) + C(4,1)) / 2**4
    assert found.paired.p_exact == pytest.approx(10 / 16)


def test_rows_without_a_label_count_for_agreement_alone() -> None:
    rows = [row(1, gold=None), row(2, gold=None)]
    found = verdict(pair_up([answered(rows[0], 1), answered(rows[1], 2)], [answered(rows[0], 1), answered(rows[1], 1)]))
    assert found.agreement == 0.5
    assert found.accuracies[0].share is None
    assert found.paired.rows == 0


def test_the_distance_is_the_total_variation_of_the_probabilities() -> None:
    one = row(1)
    pair = PairedRow(one, answered(one, 1, (0.7, 0.2, 0.1)), answered(one, 2, (0.1, 0.6, 0.3)))
    assert pair.distance == pytest.approx(0.6)
    assert PairedRow(one, pair.first, AnsweredRow(one, None)).distance is None


def test_nothing_answered_is_nothing_to_compare() -> None:
    found = verdict([PairedRow(one, AnsweredRow(one, None), AnsweredRow(one, None)) for one in (row(1), row(2))])
    assert (found.agreement, found.both, found.distance) == (None, 0, 0.0)


def test_a_side_answers_every_row_once_and_goes_on_where_it_stopped() -> None:
    questions = tiny.questions(6)
    rows = [SheetRow(number, str(number), question) for number, question in enumerate([*questions, questions[0]], 1)]
    rows.append(SheetRow(8, "8", None, "the question is missing"))
    engine = ScriptedEngine(context_size=8192, formats=FORMATS)
    side = SheetSide(rows, FORMATS, QuestionFormat.load("formosa"))
    assert side.total == 6
    going = side.score(engine)
    first = next(going)
    going.close()
    assert len(side.results) == 1
    rest = list(side.score(engine))
    places = sorted(index for found in (first, *rest) for index in found)
    assert places == [0, 1, 2, 3, 4, 5, 6]  # the seventh asks what the first asks
    answers = side.answers()
    assert answers[0].answer == answers[6].answer
    assert answers[7].error == "the question is missing"
    assert all(found[index] == answers[index] for found in (first, *rest) for index in found)
    assert not list(side.score(engine))


def test_a_question_that_does_not_fit_says_so() -> None:
    rows = [SheetRow(1, "1", tiny.questions(1)[0]), SheetRow(2, "2", Question("長" * 5000, "問", ("甲", "乙"), 1))]
    side = SheetSide(rows, FORMATS, QuestionFormat.load("formosa"))
    assert len(list(side.score(ScriptedEngine(context_size=3000, formats=FORMATS)))) == 1
    assert "longer than the context" in side.answers()[1].error


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two models with one vocabulary, the second with other formats, and one without formats."""
    folder = tmp_path_factory.mktemp("compare")
    vocabulary = tiny.tokenizer(folder)
    other = Formats(PromptFormat.load("vicuna"), QuestionFormat.load("lab4"))
    return (
        make_gguf.model(folder / "a.gguf", vocabulary, formats=FORMATS),
        make_gguf.model(folder / "b.gguf", vocabulary, formats=other, seed=1),
        make_gguf.model(folder / "bare.gguf", vocabulary),
    )


def test_other_formats_are_told_and_equal_ones_are_not(models: tuple[Path, Path, Path]) -> None:
    first, second, _ = models
    plans = [one.plan for one in contenders([ModelOptions(model=first), ModelOptions(model=second)], exam=True)]
    notes = differences(*plans, exam=True)
    assert len(notes) == 2
    assert "a.gguf: alpaca2, b.gguf: vicuna" in notes[0]
    assert "--question-format" in notes[1]
    assert differences(*plans, exam=False) == notes[:1]
    assert differences(plans[0], plans[0], exam=True) == ()


def test_an_exam_needs_question_formats_and_a_talk_does_not(models: tuple[Path, Path, Path]) -> None:
    options = [ModelOptions(model=models[0]), ModelOptions(model=models[2], prompt_format="vicuna")]
    exam = contenders(options, exam=True)
    assert [one.labels.name for one in exam if one.labels] == ["formosa", "formosa"]
    assert any("question format" in note for note in exam[1].notes)
    assert [one.labels for one in contenders(options, exam=False)] == [None, None]


def test_what_is_larger_than_the_memory_does_not_fit_together(tmp_path: Path, models: tuple[Path, Path, Path]) -> None:
    small = [ModelOptions(model=path) for path in models[:2]]
    assert fit_together(small)
    huge = tmp_path / "huge.gguf"
    with huge.open("wb") as file:
        file.truncate(1 << 42)  # a sparse file takes no room on the disk
    assert not fit_together([small[0], ModelOptions(model=huge)])
