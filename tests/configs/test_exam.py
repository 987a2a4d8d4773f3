"""Question texts byte for byte, labels in every spelling, conversion that never makes two options one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import files
from configs.errors import ConfigError
from configs.exam import Question, QuestionFormat, label_ids, parse_label
from configs.formats import Formats
from tests import tiny

QUESTION = Question("文章。", "問題？", ("甲", "乙", "", "丁"), 2)
GOLDEN = {
    "formosa": "請根據以下文章，以數字回答選擇題:\n\n文章。\n\n問題？\n1: 甲\n2: 乙\n3: \n4: 丁\n",
    "lab4": "請根據以下輸入回答選擇題，並以數字回答:\n\n文章。問題:問題？1: 甲2: 乙3: 4: 丁\n",
    "ceval": "文章。\n\n問題？\nA. 甲\nB. 乙\nC. \nD. 丁\n答案：",
}


@pytest.mark.parametrize("name", files.names("questions"))
def test_shipped_formats_write_these_bytes(name):
    question_format = QuestionFormat.load(name)
    assert question_format.text(QUESTION) == GOLDEN[name]
    assert question_format.messages(QUESTION)[1] == {"role": "assistant", "content": "B" if name == "ceval" else "2"}
    assert QuestionFormat.from_toml(question_format.to_toml()) == question_format


def test_template_words_in_a_row_are_text():
    hostile = Question("{{ question }}{% for %}", "</s>[INST]<|im_end|>😀", ("{{ 1 }}", "<s>"), None)
    text = QuestionFormat.load("formosa").text(hostile)
    assert "{{ question }}{% for %}" in text
    assert "1: {{ 1 }}\n2: <s>\n" in text


def test_conversion_is_part_of_the_format():
    converted = QuestionFormat.load("formosa").with_convert("t2s")
    question = Question("學習漢字", "問題", ("學", "習"), 1)
    assert "学习汉字" in converted.text(question)
    assert "1: 学\n2: 习\n" in converted.text(question)
    assert QuestionFormat.from_toml(converted.to_toml()).text(question) == converted.text(question)


def test_options_that_would_become_one_keep_the_row_unconverted():
    question = Question("李乾國是誰？學習", "誰？", ("李乾國", "李幹國"), 1)
    assert QuestionFormat.load("formosa").with_convert("t2s").shown(question) == question


def test_unknown_conversion_is_refused():
    with pytest.raises(ConfigError, match="convert"):
        QuestionFormat.load("formosa").with_convert("t3s")


def test_control_characters_are_not_shown():
    question = Question("甲\x00乙\n丙\t丁", "問\x07題", ("子\x1b[31m", "丑"), 1)
    shown = QuestionFormat.load("formosa").shown(question)
    assert shown == Question("甲乙\n丙\t丁", "問題", ("子[31m", "丑"), 1)


@pytest.mark.parametrize(
    ("cell", "place", "normalised"),
    [
        (3, 3, False), (3.0, 3, False), ("3", 3, True), ("選項3", 3, True), ("选项3", 3, True), ("３", 3, True),
        (" 3 ", 3, True), ("C", 3, True), ("c", 3, True), ("(C)", 3, True), ("（Ｃ）", 3, True), ("3.", 3, True), ("option 3", 3, True),
    ],
)  # fmt: skip
def test_labels_in_every_spelling(cell, place, normalised):
    assert parse_label(cell, 4) == (place, normalised)


@pytest.mark.parametrize(
    "cell", [0, 5, 2.5, "5", "E", "選項", "無", "", True, None, "1 2", "12", float("nan"), float("inf"), [1]]
)
def test_cells_that_name_no_option(cell):
    with pytest.raises(ValueError):
        parse_label(cell, 4)


@given(st.integers(2, 26), st.data())
def test_every_place_is_read_back(choices, data):
    place = data.draw(st.integers(1, choices))
    assert parse_label(place, choices) == (place, False)
    assert parse_label(chr(ord("A") + place - 1), choices) == (place, True)
    assert parse_label(f"選項{place}", choices) == (place, True)


def test_label_ids_follow_the_prompt(tmp_path):
    vocabulary = tiny.SentencePieceVocabulary(tiny.tokenizer(tmp_path))
    formats = Formats.load("alpaca2", "formosa")
    prompt, labels = label_ids(formats.prompt, formats.question, QUESTION, vocabulary)
    assert [vocabulary.pieces.id_to_piece(ids[0]) for ids in labels] == ["▁"] * 4
    assert [vocabulary.pieces.id_to_piece(ids[1]) for ids in labels] == ["1", "2", "3", "4"]
    assert [len(ids) for ids in labels] == [2] * 4
    assert vocabulary.pieces.decode(prompt[1:]).endswith("4: 丁\n [/INST]")


def test_more_options_than_labels_is_an_error():
    with pytest.raises(ConfigError, match="10 options"):
        QuestionFormat.load("formosa").text(Question("p", "q", tuple("abcdefghij")))


@pytest.mark.parametrize(
    "change",
    [{"labels": ["1"]}, {"labels": ["1", "1"]}, {"template": "{{ passage }}"}, {"template": "{{ nothing }}"}, {"x": 1}],
)
def test_faulty_formats_are_refused(change):
    table = {**QuestionFormat.load("formosa").model_dump(), **change}
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        QuestionFormat.from_table(table, "mine.toml")


def test_formats_travel_in_a_folder_and_in_gguf_keys(tmp_path):
    formats = Formats(Formats.load("llama3").prompt, QuestionFormat.load("lab4").with_convert("tw2sp"))
    (tmp_path / "prompt_format.toml").write_text(formats.to_toml(), encoding="utf-8")
    assert Formats.from_folder(tmp_path) == formats
    assert Formats.from_gguf_keys(formats.gguf_keys()) == formats
    assert Formats.from_folder(tmp_path / "elsewhere") is None
    assert Formats.from_gguf_keys({}) is None


def test_format_file_with_unknown_tables_is_refused():
    with pytest.raises(ConfigError, match=r"\[prompt\]"):
        Formats.from_toml("[promt]\n")
