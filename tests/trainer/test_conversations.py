"""Dialogues and raw text as tokens: every reply trained and nothing else, every block whole, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.formats import Formats
from configs.prompt import Message, PromptFormat, encode
from tests import tiny
from trainer.datasets.folder import Row
from trainer.examples import IGNORED, Example, encode_row, encode_rows
from trainer.replies import encode_conversation
from trainer.tokenizer import SentencePieceTokenizer

SAID = ("今天說到什麼？", "蘋果", "昨天呢？", "香蕉 和 西瓜", "明天呢？", "不知道")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer(folder)
    return SentencePieceTokenizer.from_folder(folder)


def dialogue(*said: str) -> tuple[Message, ...]:
    return tuple({"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said))


def trained_pieces(example: Example, tokenizer: SentencePieceTokenizer) -> list[str]:
    return ["".join(tokenizer.piece(id_) for id_ in example.ids[slice(*span)]) for span in example.trained]


def test_every_reply_and_its_end_are_trained_and_nothing_else(tokenizer: SentencePieceTokenizer) -> None:
    (example,) = encode_row(Row("1", dialogue(*SAID)), Formats.load("alpaca2"), tokenizer, 1536)
    texts = [piece.replace("▁", " ") for piece in trained_pieces(example, tokenizer)]
    plain = [bytes_back(text) for text in texts]
    assert plain == [" 蘋果</s>", " 香蕉 和 西瓜</s>", " 不知道</s>"]
    trained = sum(label != IGNORED for label in example.labels)
    assert trained == example.trained_tokens == sum(end - start for start, end in example.trained)
    assert all(label in (IGNORED, id_) for label, id_ in zip(example.labels, example.ids, strict=True))


def bytes_back(text: str) -> str:
    """Text of pieces in which `<0xE6>` stands for a byte."""
    import re

    def byte(found: re.Match[bytes]) -> bytes:
        return bytes([int(found[1], 16)])

    return re.sub(rb"<0x([0-9A-F]{2})>", byte, text.encode()).decode()


@pytest.mark.parametrize("name", ["alpaca1", "alpaca2", "vicuna"])
def test_before_every_reply_stands_the_prompt_that_serving_evaluates(
    name: str, tokenizer: SentencePieceTokenizer
) -> None:
    prompt_format = PromptFormat.load(name)
    messages = dialogue(*SAID)
    encoded = encode_conversation(prompt_format, messages, tokenizer)
    assert len(encoded) == 1
    ids, spans = encoded[0]
    assert ids == encode(prompt_format.render(messages), tokenizer)
    assert len(spans) == 3
    for place, (start, end) in zip((1, 3, 5), spans, strict=True):
        assert ids[:start] == encode(prompt_format.prompt(messages[:place]), tokenizer)
        assert start < end
    assert spans[-1][1] == len(ids)


class GreedyPairs:
    """A tokenizer whose tokens grow across any joint: it takes two characters at a time."""

    def plain(self, text: str) -> list[int]:
        return [int.from_bytes(text[at : at + 2].encode()) for at in range(0, len(text), 2)]

    def special(self, token: str) -> int:
        return len(token)


def test_where_tokens_grow_across_the_joint_each_reply_has_an_example_of_its_own() -> None:
    prompt_format = PromptFormat.load("vicuna")
    messages = dialogue("一二", "三四五", "六七", "八九", "十", "百千")
    encoded = encode_conversation(prompt_format, messages, GreedyPairs())
    joints = [len(prompt_format.prompt(messages[:place]).text) for place in (1, 3, 5)]
    assert any(joint % 2 == 0 for joint in joints), "no joint falls inside a pair: the test sees nothing"
    assert len(encoded) == 3
    for place, (ids, spans) in zip((1, 3, 5), encoded, strict=True):
        prompt_ids = encode(prompt_format.prompt(messages[:place]), GreedyPairs())
        assert ids[: len(prompt_ids)] == prompt_ids
        assert spans == ((len(prompt_ids), len(ids)),)


def test_a_long_dialogue_loses_whole_turns_at_its_end(tokenizer: SentencePieceTokenizer) -> None:
    formats = Formats.load("alpaca2")
    (two,) = encode_row(Row("1", dialogue(*SAID[:4])), formats, tokenizer, 1536)
    (cut,) = encode_row(Row("1", dialogue(*SAID)), formats, tokenizer, len(two.ids))
    assert (list(cut.ids), cut.trained, cut.truncated) == (list(two.ids), two.trained, True)
    assert encode_row(Row("1", dialogue(*SAID)), formats, tokenizer, 30) == []
    with pytest.raises(ConfigError, match="even when shortened: 1"):
        encode_rows([Row("1", dialogue(*SAID))], formats, tokenizer, 30)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(alphabet="天地玄黃abc 12\n。</s>", min_size=1, max_size=60), min_size=1, max_size=8),
    length=st.integers(16, 90),
)
def test_blocks_hold_every_token_of_every_text_in_order(
    texts: list[str], length: int, tokenizer: SentencePieceTokenizer
) -> None:
    rows = [Row(str(number), (), text=text) for number, text in enumerate(texts)]
    stream = [id_ for text in texts for id_ in (1, *tokenizer.plain(text), 2)]
    examples = encode_rows(rows, Formats.load("alpaca2"), tokenizer, length)
    joined = [id_ for example in examples for id_ in example.ids]
    assert stream[: len(joined)] == joined
    assert len(stream) - len(joined) <= 1  # one token alone is nothing to train on
    assert all(len(example.ids) == length for example in examples[:-1])
    for example in examples:
        assert example.labels == [IGNORED, *example.ids[1:]]
        assert 0 <= int(example.id) < len(texts)


def test_texts_and_dialogues_go_together(tokenizer: SentencePieceTokenizer) -> None:
    rows: Sequence[Row] = [Row("t", (), text="春天" * 40), Row("d", dialogue(*SAID)), Row("u", (), text="秋天")]
    examples = encode_rows(rows, Formats.load("alpaca2"), tokenizer, 400)
    assert [example.id for example in examples] == ["d", "t"]
