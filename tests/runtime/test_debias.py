"""Options in several orders, mapped back; a favour for a label found and taken off."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.exam import Question
from configs.option_order import movable, reordered
from runtime.answering import weigh
from runtime.debias import by_option, orders, plan_orders, priors

FOUR = Question("文", "問", ("甲", "乙", "丙", "丁"), 2)


def test_cyclic_shows_every_option_once_at_every_place() -> None:
    found = orders(FOUR, "cyclic")
    assert found[0] == (1, 2, 3, 4)
    assert [sorted(column) for column in zip(*found, strict=True)] == [[1, 2, 3, 4]] * 4
    assert reordered(FOUR, found[1]) == Question("文", "問", ("乙", "丙", "丁", "甲"), 1)


def test_full_is_every_order_and_has_an_end() -> None:
    assert len(set(orders(FOUR, "full"))) == 24
    assert orders(FOUR, "full")[0] == (1, 2, 3, 4)
    with pytest.raises(ConfigError, match="5 options have 120 orders"):
        orders(Question("p", "q", tuple("abcde")), "full")
    assert len(orders(Question("p", "q", tuple("abcde")), "cyclic")) == 5


@pytest.mark.parametrize(
    "text",
    ["以上皆是", "以上皆非。", "以上皆錯", "上述皆非", "以上都不對", "以上皆有可能發生", "以下皆是", "兩者皆是", "以上選項皆非",
     "两者都不是", "以上均正确", "皆是", "都不對", "以上全部皆是", "All of the above", "None of the above.", "none of these",
     "Both are correct"],
)  # fmt: skip
def test_an_option_that_speaks_of_the_others_stays(text: str) -> None:
    question = Question("p", "q", ("a", "b", "c", text))
    assert movable(question) == (1, 2, 3)
    assert all(order[3] == 4 for debias in ("cyclic", "full") for order in orders(question, debias))
    assert len(orders(question, "cyclic")) == 3


@pytest.mark.parametrize(
    "text",
    ["65歲以上", "四人以上", "兩者都在研究經濟學", "什麼都不做", "皆可以打電話", "書信和銀子都不見了", "以上海為例", "十年以上", "全部買走",
     "he lost all of it", "以上車地點為準", "10年以上", "-26"],
)  # fmt: skip
def test_other_options_move(text: str) -> None:
    assert movable(Question("p", "q", ("a", "b", "c", text))) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    "text",
    ["A和C", "(A)和(C)皆是", "1和2都對", "①②", "(1)(3)皆正確", "Ａ、Ｂ", "ABC皆是", "AB都對", "選項1與選項3", "只有B", "僅A和C", "選項2。",
     "A and B", "only (A)", "A and C are correct", "1 or 2"],
)  # fmt: skip
def test_where_an_option_names_others_by_their_labels_all_stay(text: str) -> None:
    question = Question("p", "q", ("a", "b", "c", text))
    assert movable(question) == ()
    assert orders(question, "cyclic") == orders(question, "full") == ((1, 2, 3, 4),)


@pytest.mark.parametrize(
    "text",
    ["AB", "A", "B型", "12", "3", "1、2月", "3、4級", "1,344架次", "1,344", "7和8", "B、C型肝炎篩檢", "英聽測驗增加選項播音", "1/3", "3、3",
     "維生素A和B", "A計畫", "1.5", "2:1", "AB型", "Plan A", "A and a half", "只有一個", "選項很多"],
)  # fmt: skip
def test_what_only_looks_like_a_label_moves(text: str) -> None:
    assert movable(Question("p", "q", ("a", "b", "c", text))) == (1, 2, 3, 4)


def test_blank_options_stay_out() -> None:
    question = Question("p", "q", ("a", "", "c", "d"))
    assert movable(question) == (1, 3, 4)
    assert orders(question, "cyclic") == ((1, 2, 3, 4), (3, 2, 4, 1), (4, 2, 1, 3))
    assert orders(Question("p", "q", ("a", "以上皆是")), "full") == ((1, 2),)


@given(st.integers(2, 4), st.sampled_from(["none", "cyclic", "full"]), st.randoms(use_true_random=False))
def test_scores_come_back_to_their_options(count: int, debias: str, draw: random.Random) -> None:
    question = Question("p", "q", tuple("abcd"[:count]))
    quality = [draw.random() for _ in range(count)]
    scores = [[quality[option - 1] for option in order] for order in orders(question, debias)]
    assert by_option(question, scores) == [quality] * len(scores)


def test_a_strange_number_of_orders_is_refused() -> None:
    with pytest.raises(ValueError, match="3 orders of a question with 4 options"):
        by_option(FOUR, [[0.0] * 4] * 3)


FAVOUR = (0.0, 1.5, 0.2, -0.3)  # nats for each label


def biased(question: Question, debias: str, quality: dict[str, float]) -> list[list[float]]:
    """Scores of a model that likes options by quality and labels by FAVOUR; they sum to less than one."""
    found = []
    for order in orders(question, debias):
        logits = [quality[question.choices[option - 1]] + favour for option, favour in zip(order, FAVOUR, strict=False)]
        total = math.log(sum(map(math.exp, logits))) + 0.1
        found.append([value - total for value in logits])
    return found


def test_cyclic_orders_cancel_a_favour_for_a_label() -> None:
    quality = {"甲": 0.0, "乙": -0.1, "丙": 1.0, "丁": 0.5}
    assert weigh(FOUR, biased(FOUR, "none", quality)).place == 2  # the favoured label wins
    for debias in ("cyclic", "full"):
        answer = weigh(FOUR, biased(FOUR, debias, quality))
        assert answer.place == 3
        total = sum(map(math.exp, quality.values()))
        assert answer.probabilities == pytest.approx([math.exp(quality[text]) / total for text in FOUR.choices])
        assert answer.label_mass == pytest.approx(math.exp(-0.1))
        assert answer.flip_rate is not None


def test_the_flip_rate_is_the_share_of_orders_with_another_answer() -> None:
    scores = [[-1.0, -2.0, -3.0, -4.0]] * 4  # label 1 whatever stands there
    assert weigh(FOUR, scores).flip_rate == 0.75
    assert weigh(FOUR, scores[:1]).flip_rate is None
    right = [[0.0 if option == 3 else -5.0 for option in order] for order in orders(FOUR, "cyclic")]
    assert (weigh(FOUR, right).place, weigh(FOUR, right).flip_rate) == (3, 0.0)


def sheet(rows: int) -> tuple[dict[str, Question], dict[str, dict[str, float]]]:
    draw = random.Random(0)
    questions, qualities = {}, {}
    for number in range(rows):
        choices = tuple(f"{letter}{number}" for letter in "甲乙丙丁")
        questions[f"key{number}"] = Question(f"文{number}", "問", choices)
        qualities[f"key{number}"] = {choice: draw.gauss(0, 1) for choice in choices}
    return questions, qualities


def test_pride_finds_the_favour_in_a_sample_and_takes_it_off() -> None:
    questions, qualities = sheet(1000)
    modes = plan_orders(questions, "pride")
    assert sum(mode == "cyclic" for mode in modes.values()) == 50
    scores = {key: biased(question, modes[key], qualities[key]) for key, question in questions.items()}
    prior = priors(questions, scores)[4]
    total = math.log(sum(map(math.exp, FAVOUR)))
    assert prior == pytest.approx([value - total for value in FAVOUR])
    rest = [key for key in questions if modes[key] == "none"]
    best = {key: max(qualities[key], key=qualities[key].__getitem__) for key in rest}

    def right(taken: tuple[float, ...]) -> int:
        return sum(
            questions[key].choices[weigh(questions[key], scores[key], taken).place - 1] == best[key] for key in rest
        )

    assert right(prior) == len(rest)
    assert right(()) < 0.8 * len(rest)


def test_the_sample_depends_on_the_questions_alone() -> None:
    questions, _ = sheet(300)
    wanted = {questions[key] for key, mode in plan_orders(questions, "pride").items() if mode == "cyclic"}
    other = {f"other{key}": questions[key] for key in reversed(questions)}
    assert {other[key] for key, mode in plan_orders(other, "pride").items() if mode == "cyclic"} == wanted
    assert len(wanted) == 20


def test_a_small_sheet_is_its_own_sample_and_pinned_options_are_not_in_it() -> None:
    questions, _ = sheet(5)
    questions["pinned"] = Question("p", "q", ("a", "b", "c", "以上皆是"))
    assert plan_orders(questions, "pride") == {**dict.fromkeys(questions, "cyclic"), "pinned": "none"}


def test_without_a_sample_there_is_no_prior() -> None:
    questions, qualities = sheet(3)
    assert priors(questions, {key: biased(questions[key], "none", qualities[key]) for key in questions}) == {}
    assert priors(questions, {}) == {}


def test_too_many_orders_are_refused_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match="120 orders"):
        plan_orders({"a": FOUR, "b": Question("p", "q", tuple("abcde"))}, "full")
