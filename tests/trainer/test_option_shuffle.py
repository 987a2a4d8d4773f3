"""Options in another order every turn: the label goes with its option, and a run can be laid out again."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from configs.exam import Question
from configs.formats import Formats
from tests import tiny
from trainer.datasets.folder import Row
from trainer.examples import Example, encode_rows
from trainer.option_shuffle import ShuffledExamples, in_turns, shuffled
from trainer.tokenizer import SentencePieceTokenizer

FORMATS = Formats.load("alpaca2", "formosa")
FOUR = Question("文", "問", ("甲", "乙", "丙", "丁"), 3)


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer.from_folder(tiny_base)


def examples(tokenizer: SentencePieceTokenizer, *, explanation: str = "") -> list[Example]:
    assert FORMATS.question is not None
    rows = [
        Row(str(number), tuple(FORMATS.question.messages(question)), question, explanation)
        for number, question in enumerate(tiny.questions(6))
    ]
    return encode_rows(rows, FORMATS, tokenizer, 1536, explanations=bool(explanation))


def reply(example: Example, tokenizer: SentencePieceTokenizer) -> str:
    ((start, end),) = example.trained
    return "".join(tokenizer.piece(id_) for id_ in example.ids[start:end])


def test_the_label_goes_with_its_option_and_every_place_is_as_likely() -> None:
    found = [shuffled(FOUR, random.Random(seed)) for seed in range(2_000)]
    assert {question.choices[question.answer - 1] for question in found if question.answer} == {"丙"}
    assert {tuple(sorted(question.choices)) for question in found} == {tuple(sorted(FOUR.choices))}
    places = Counter(question.answer for question in found)
    assert min(places.values()) > 430
    assert len({question.choices for question in found}) == 24


def test_options_that_speak_of_others_and_blank_ones_stay() -> None:
    question = Question("文", "問", ("甲", "", "丙", "丁", "以上皆是"), 1)
    for seed in range(50):
        moved = shuffled(question, random.Random(seed))
        assert (moved.choices[1], moved.choices[4]) == ("", "以上皆是")
        assert moved.choices[(moved.answer or 0) - 1] == "甲"


def test_a_turn_is_the_same_whenever_it_is_asked_for_and_turns_differ(tokenizer: SentencePieceTokenizer) -> None:
    plain = examples(tokenizer)
    options = {"max_length": 1536, "seed": 7}
    one, two = (ShuffledExamples(plain, FORMATS, tokenizer, **options) for _ in range(2))
    numbers = [*range(24)]
    forwards = [list(one[number].ids) for number in numbers]
    assert [list(two[number].ids) for number in reversed(numbers)] == forwards[::-1]
    assert any(forwards[number] != forwards[number + 6] for number in range(6))
    other = ShuffledExamples(plain, FORMATS, tokenizer, max_length=1536, seed=8)
    assert [list(other[number].ids) for number in numbers] != forwards


def test_what_is_trained_is_the_label_of_the_right_option_where_it_now_stands(
    tokenizer: SentencePieceTokenizer,
) -> None:
    plain = examples(tokenizer)
    turned = ShuffledExamples(plain, FORMATS, tokenizer, max_length=1536, seed=0)
    labels = set()
    for number in range(60):
        before, after = plain[number % 6], turned[number]
        assert before.question is not None
        assert after.question is not None
        assert before.question.answer is not None
        assert after.question.answer is not None
        right = before.question.choices[before.question.answer - 1]
        assert after.question.choices[after.question.answer - 1] == right
        assert reply(after, tokenizer) == f"▁{after.question.answer}</s>"
        labels.add(after.question.answer)
        text = "".join(tokenizer.piece(id_) for id_ in after.ids)
        assert f"{after.question.answer}:▁{right}" in text or f"{after.question.answer}:{right}" in text
    assert labels == {1, 2, 3, 4}


def test_rows_that_would_not_fit_any_more_keep_their_order(tokenizer: SentencePieceTokenizer) -> None:
    plain = examples(tokenizer)
    turned = ShuffledExamples(plain, FORMATS, tokenizer, max_length=10, seed=0)
    assert [turned[number] for number in range(6)] == plain


def test_an_explanation_goes_along_and_binds_the_order_where_it_names_options(
    tokenizer: SentencePieceTokenizer,
) -> None:
    free = examples(tokenizer, explanation="文章說的是今天。")
    turned = ShuffledExamples(free, FORMATS, tokenizer, max_length=1536, seed=0)
    assert any(turned[number].question != free[number % 6].question for number in range(24))
    assert all("文章說的是今天" in reply(turned[number], tokenizer).replace("▁", "") for number in range(24))
    for text in ("NBA 的球隊", "選舉時投票"):
        moved = ShuffledExamples(
            [replace(example, explanation=text) for example in free], FORMATS, tokenizer, max_length=1536, seed=0
        )
        assert any(moved[number].question != free[number % 6].question for number in range(24)), text
    for text in ("所以選項一是對的", "故選(A)", "第二個才對", "答案是 2", "故選C。", "Ｂ錯", "①不對", "應選b", "選一"):
        bound = [replace(example, explanation=text) for example in free]
        kept = ShuffledExamples(bound, FORMATS, tokenizer, max_length=1536, seed=0)
        assert [kept[number] for number in range(24)] == bound * 4


def test_each_time_a_row_comes_is_its_next_turn() -> None:
    assert in_turns([(0, 2), (1,), (2,), (0, 1), (2,)], 3) == [(0, 2), (1,), (5,), (3, 4), (8,)]


def test_rows_that_are_no_exam_are_left_alone(tokenizer: SentencePieceTokenizer) -> None:
    text = Example("t", [5, 6, 7], ((1, 3),))
    turned = ShuffledExamples([text], FORMATS, tokenizer, max_length=1536, seed=0)
    assert (turned[0], turned[5], len(turned)) == (text, text, 1)
