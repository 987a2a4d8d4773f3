"""Which spellings of a label count, with SentencePiece's manner of joining blanks and byte-level BPE's of joining letters."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.exam import Question, QuestionFormat, label_ids
from configs.formats import Formats
from configs.prompt import PromptFormat
from configs.spellings import Speller
from runtime.engine import Engine
from runtime.scripted import CharacterTokenizer
from tests import tiny

QUESTION = Question("文章。", "問題？", ("甲", "乙", "丙", "丁"), 2)


def rendered(formats: Formats, question: Question = QUESTION):
    assert formats.question is not None
    return formats.prompt.prompt([{"role": "user", "content": formats.question.text(question)}])


def spelled(formats: Formats, tokenizer, count: int = 4):
    return Speller(formats.prompt, formats.question, tokenizer).spell(rendered(formats), count)


def test_every_label_may_stand_bare_after_a_blank_or_after_a_line_break(engine: Engine, formats: Formats) -> None:
    ids, labels = spelled(formats, engine.tokenizer)
    text = [b"".join(engine.tokenizer.piece(token) for token in one) for one in ids]
    assert sorted(text) == sorted(f"{before}{label}".encode() for before in ("", " ", "\n") for label in "1234")
    assert [text[at].strip().decode() for at in range(12)] == [str(label + 1) for label in labels]


@pytest.mark.parametrize("prompt_format", ["alpaca1", "alpaca2", "chatml", "vicuna"])
def test_the_spelling_of_the_training_is_among_them(prompt_format: str, tmp_path: Path) -> None:
    formats = Formats.load(prompt_format, "formosa")

    class Vocabulary(tiny.SentencePieceVocabulary):
        def special(self, token: str) -> int:
            return 10_000 + sum(map(ord, token))

    vocabulary = Vocabulary(tiny.tokenizer(tmp_path))
    _, trained = label_ids(formats.prompt, formats.question, QUESTION, vocabulary)
    ids, labels = spelled(formats, vocabulary)
    for number, one in enumerate(trained):
        assert labels[ids.index(tuple(one))] == number
    assert len(set(ids)) == len(ids)


class Joining(CharacterTokenizer):
    """Joins a colon with the capital letter that follows, as Llama 3 and Qwen do."""

    def plain(self, text: str) -> list[int]:
        ids = super().plain(text)
        joined = []
        for token in ids:
            if joined and joined[-1] == ord(":") and chr(token) in string.ascii_uppercase:
                joined[-1] = 1_000_000 + token
            else:
                joined.append(token)
        return joined


COLON = PromptFormat.from_toml(
    'name = "colon"\nsystem = ""\nspecial_tokens = ["<s>", "</s>"]\nstops = ["</s>"]\n'
    "template = '''{% for message in messages %}{% if message['role'] == 'user' %}<s>{{ message['content'] }}Answer:"
    "{% else %}{{ message['content'] }}</s>{% endif %}{% endfor %}'''\n"
)


def letters(count: int = 26) -> QuestionFormat:
    return QuestionFormat.load("formosa").model_copy(update={"labels": tuple(string.ascii_uppercase[:count])})


def test_a_spelling_that_changes_the_prompts_own_tokens_does_not_count() -> None:
    formats = Formats(COLON, letters(4))
    ids, labels = spelled(formats, Joining())
    # The bare letter melts into the colon; it was trained by itself, so it stays, as generation would write it.
    assert [tuple(map(chr, one)) for one, label in zip(ids, labels, strict=True) if label == 1] == [
        ("B",), (" ", "B"), ("\n", "B"),
    ]  # fmt: skip
    table = COLON.model_dump()
    table["template"] = table["template"].replace("{% else %}", "{% else %} ")
    blank = PromptFormat.from_table(table, "blank")
    ids, _ = spelled(Formats(blank, letters(4)), Joining())
    assert ("B",) not in [tuple(map(chr, one)) for one in ids]


def test_twenty_six_letters() -> None:
    ids, labels = spelled(Formats(COLON, letters()), CharacterTokenizer(), 26)
    assert set(labels) == set(range(26))
    assert len(ids) == 78


def test_labels_of_many_tokens_are_spelled_as_trained_alone() -> None:
    words = QuestionFormat.load("formosa").model_copy(update={"labels": tuple(f"{n}號的選項" for n in "甲乙丙丁戊己")})
    ids, labels = spelled(Formats(COLON, words), CharacterTokenizer(), 6)
    assert [tuple(map(ord, f"{n}號的選項")) for n in "甲乙丙丁戊己"] == list(ids)
    assert labels == (0, 1, 2, 3, 4, 5)


def test_labels_that_begin_each_other_end_with_the_reply() -> None:
    numbers = QuestionFormat.load("formosa").model_copy(update={"labels": tuple(map(str, range(1, 13)))})
    tokenizer = CharacterTokenizer()
    ids, _ = spelled(Formats(COLON, numbers), tokenizer, 12)
    assert all(one[-1] == tokenizer.special("</s>") for one in ids)
    ids, _ = spelled(Formats(COLON, numbers), tokenizer, 9)
    assert all(one[-1] != tokenizer.special("</s>") for one in ids)


def test_labels_that_are_the_same_tokens_are_refused() -> None:
    class Blind(CharacterTokenizer):
        def plain(self, text: str) -> list[int]:
            return [0 if character in "甲乙" else ord(character) for character in text]

    two = QuestionFormat.load("formosa").model_copy(update={"labels": ("甲", "乙")})
    with pytest.raises(ConfigError, match="the same tokens"):
        Speller(COLON, two, Blind()).spell(COLON.prompt([{"role": "user", "content": "?"}]), 2)


def test_spellings_that_would_begin_another_label_are_left_out() -> None:
    class Blankless(CharacterTokenizer):
        """Writes a blank and 1 as it writes 21: only where the label is not written as it was trained."""

        def plain(self, text: str) -> list[int]:
            return super().plain(text.replace(" 1", "21"))

    table = QuestionFormat.load("formosa").model_copy(update={"labels": ("1", "2")})
    ids, _ = Speller(COLON, table, Blankless()).spell(COLON.prompt([{"role": "user", "content": "?"}]), 2)
    assert [tuple(map(chr, one)) for one in ids] == [("1",), ("2",)]
