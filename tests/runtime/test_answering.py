"""From log probabilities to an answer, and from a question to what is scored."""

from __future__ import annotations

import math

import pytest

from configs.exam import Question
from configs.formats import Formats
from runtime.answering import Asker, weigh
from runtime.engine import Engine, ScoreRequest
from tests import tiny


def test_the_likeliest_option_is_chosen_and_probabilities_sum_to_one() -> None:
    answer = weigh(Question("p", "q", ("a", "b", "c")), [(-2.0, -0.5, -1.5)])
    assert answer.place == 2
    assert sum(answer.probabilities) == pytest.approx(1)
    assert answer.label_mass == pytest.approx(sum(map(math.exp, (-2.0, -0.5, -1.5))))
    assert answer.margin == pytest.approx(answer.probabilities[1] - answer.probabilities[2])
    assert answer.warnings == ()


def test_a_blank_option_is_never_the_answer() -> None:
    answer = weigh(Question("p", "q", ("a", "", "c")), [(-3.0, -0.01, -4.0)])
    assert answer.place == 1
    assert answer.probabilities[1] == 0.0


def test_doubts_are_named() -> None:
    answer = weigh(Question("p", "q", ("a", "b")), [(-5.0, -5.01)])
    assert answer.place == 1
    assert answer.warnings == ("near tie", "low label mass 0.013")


def test_hopeless_labels_still_give_probabilities() -> None:
    assert sum(weigh(Question("p", "q", ("a", "b")), [(-2000.0, -1990.0)]).probabilities) == pytest.approx(1)


def test_every_prompt_shares_the_formats_start(engine: Engine, formats: Formats) -> None:
    assert formats.question is not None
    asker = Asker(formats, formats.question, engine.tokenizer)
    requests = [asker.requests(question)[0] for question in tiny.questions(5)]
    shared = {tuple(request.prompt[: request.cuts[0]]) for request in requests}
    assert len(shared) == 1
    assert requests[0].cuts[0] > 20
    assert all(len(ids) == 2 for request in requests for ids in request.continuations)


def test_a_label_that_begins_another_is_scored_with_the_end_of_the_reply(engine: Engine, formats: Formats) -> None:
    assert formats.question is not None
    many = formats.question.model_copy(update={"labels": tuple(str(number) for number in range(1, 13))})
    question = Question("文章", "哪個？", tuple("甲乙丙丁戊己庚辛壬癸子丑"))
    (request,) = Asker(formats, many, engine.tokenizer).requests(question)
    assert {ids[-1] for ids in request.continuations} == {2}
    (four,) = Asker(formats, many, engine.tokenizer).requests(tiny.questions(1)[0])
    assert all(ids[-1] != 2 for ids in four.continuations)


def test_the_spellings_of_a_label_are_summed() -> None:
    request = ScoreRequest((1,), ((5,), (6,), (7, 5)), labels=(0, 1, 0))
    scores = request.by_label([math.log(0.2), math.log(0.5), math.log(0.1)])
    assert scores == pytest.approx([math.log(0.3), math.log(0.5)])
    assert ScoreRequest((1,), ((5,), (6,))).by_label([-1.0, -2.0]) == [-1.0, -2.0]
