"""From log probabilities to an answer, and from a question to what is scored."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from configs.exam import Question
from configs.formats import Formats
from runtime.answering import Asker, weigh
from runtime.engine import Engine, ScoreRequest
from runtime.scripted import CharacterTokenizer
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
    requests = [asker.requests(question, shared=True)[0] for question in tiny.questions(5)]
    shared = {tuple(request.prompt[: request.cuts[0]]) for request in requests}
    assert len(shared) == 1
    assert requests[0].cuts[0] > 20


def test_a_label_that_begins_another_is_scored_with_the_end_of_the_reply(engine: Engine, formats: Formats) -> None:
    assert formats.question is not None
    many = formats.question.model_copy(update={"labels": tuple(str(number) for number in range(1, 13))})
    question = Question("文章", "哪個？", tuple("甲乙丙丁戊己庚辛壬癸子丑"))
    (request,) = Asker(formats, many, engine.tokenizer).requests(question, shared=True)
    assert {ids[-1] for ids in request.continuations} == {2}
    (four,) = Asker(formats, many, engine.tokenizer).requests(tiny.questions(1)[0], shared=True)
    assert all(ids[-1] != 2 for ids in four.continuations)


def test_the_spellings_of_a_label_are_summed() -> None:
    request = ScoreRequest((1,), ((5,), (6,), (7, 5)), labels=(0, 1, 0))
    scores = request.by_label([math.log(0.2), math.log(0.5), math.log(0.1)])
    assert scores == pytest.approx([math.log(0.3), math.log(0.5)])
    assert ScoreRequest((1,), ((5,), (6,))).by_label([-1.0, -2.0]) == [-1.0, -2.0]


def cut_texts(request: ScoreRequest, engine: Engine) -> list[str]:
    """The prompt between its cuts, as text."""
    ends = [0, *request.cuts, len(request.prompt)]
    pieces = [request.prompt[begin:end] for begin, end in pairwise(ends)]
    return [b"".join(engine.tokenizer.piece(token) for token in ids).decode("utf-8", "replace") for ids in pieces]


PASSAGE = "欣怡今天說到秋天，昨天說到春天。"


@pytest.mark.parametrize("name", ["formosa", "lab4"])
def test_prompts_are_cut_after_the_passage_and_before_options_that_change_places(engine: Engine, name: str) -> None:
    formats = Formats.load("alpaca2", name)
    assert formats.question is not None
    asker = Asker(formats, formats.question, engine.tokenizer)
    question = Question(PASSAGE, "欣怡今天說到什麼？", ("秋天", "春天", "夏天", "冬天"))
    (plain,) = asker.requests(question, shared=True)
    start, passage, rest = cut_texts(plain, engine)
    assert start.endswith(":\n\n")
    assert passage.startswith(PASSAGE)
    assert "欣怡今天說到什麼" in rest
    turned = asker.requests(question, "cyclic", shared=True)
    assert tuple(turned[0].prompt) == tuple(plain.prompt)
    assert [request.cuts[:2] for request in turned] == [plain.cuts] * 4
    stems = {tuple(request.prompt[: request.cuts[2]]) for request in turned}
    assert len(stems) == 1
    assert [cut_texts(request, engine)[3].strip()[:2] for request in turned] == ["秋天", "春天", "夏天", "冬天"]


def test_a_passage_that_nothing_else_is_asked_about_costs_no_batch_of_its_own(engine: Engine, formats: Formats) -> None:
    assert formats.question is not None
    asker = Asker(formats, formats.question, engine.tokenizer)
    question = Question(PASSAGE, "欣怡今天說到什麼？", ("秋天", "春天", "夏天", "冬天"))
    (alone,), (shared,) = (asker.requests(question, shared=shared) for shared in (False, True))
    assert alone.prompt == shared.prompt
    assert alone.cuts == shared.cuts[:1]
    turned = asker.requests(question, "cyclic", shared=False)
    assert [len(request.cuts) for request in turned] == [2] * 4  # the format's start, and where the orders part


def test_full_orders_share_their_first_options_too(engine: Engine, formats: Formats) -> None:
    assert formats.question is not None
    asker = Asker(formats, formats.question, engine.tokenizer)
    requests = asker.requests(Question(PASSAGE, "什麼？", ("秋天", "春天", "夏天", "冬天")), "full", shared=True)
    nodes = {tuple(request.prompt[:cut]) for request in requests for cut in request.cuts}
    assert len(nodes) == 2 + 1 + 4 + 12  # format and passage, the stem, one option, two options
    assert all(len(request.cuts) == 5 for request in requests)


def test_questions_on_one_passage_are_cut_at_the_same_place(engine: Engine, formats: Formats) -> None:
    assert formats.question is not None
    asker = Asker(formats, formats.question, engine.tokenizer)
    questions = [Question(PASSAGE, text, ("一", "二", "三")) for text in ("誰？", "\n何時", "Who", " x", "")]
    cuts = {asker.requests(question, shared=True)[0].cuts[:2] for question in questions}
    assert len(cuts) == 1


def test_a_cut_inside_a_token_is_left_out(formats: Formats) -> None:
    class Joining(CharacterTokenizer):
        """Joins the end of one passage with the question that follows it."""

        def plain(self, text: str) -> list[int]:
            return super().plain(text.replace("文。問題:誰", "③"))

    lab4 = Formats.load("alpaca2", "lab4").question
    assert lab4 is not None
    asker = Asker(formats, lab4, Joining())
    asked = [asker.requests(Question("文。", text, ("a", "b")), shared=True)[0] for text in ("誰？", "何？")]
    assert [len(request.cuts) for request in asked] == [1, 2]


def test_options_that_conversion_would_make_equal_are_asked_as_they_are(engine: Engine, formats: Formats) -> None:
    assert formats.question is not None
    asker = Asker(formats, formats.question.with_convert("t2s"), engine.tokenizer)
    question = Question("李乾國是誰？學習", "誰？", ("李乾國", "李幹國"), 1)
    texts = ["".join(cut_texts(request, engine)) for request in asker.requests(question, "cyclic", shared=True)]
    assert "學習" in texts[0]
    assert "1: 李幹國" in texts[1]


def test_an_option_that_is_blank_once_it_is_shown_keeps_its_number(engine: Engine, formats: Formats) -> None:
    assert formats.question is not None
    question = Question(PASSAGE, "誰？", ("一", "\x07", "三", "四"))
    requests = Asker(formats, formats.question, engine.tokenizer).requests(question, "cyclic", shared=True)
    weigh(question, [[-1.0, -2.0, -3.0, -4.0]] * len(requests))  # as many orders as it expects
