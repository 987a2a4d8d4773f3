"""Examples: SentencePiece-exact ids, the reply alone trained, truncation that never cuts the answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.exam import Question, label_ids
from configs.formats import Formats
from tests import tiny
from trainer.batches import Collator
from trainer.datasets.folder import Row
from trainer.evaluation import make_probes
from trainer.examples import IGNORED, Example, encode_row, encode_rows
from trainer.tokenizer import SentencePieceTokenizer

FORMATS = Formats.load("alpaca2", "formosa")


def row_of(question: Question, id_: str = "1") -> Row:
    assert FORMATS.question is not None
    return Row(id_, tuple(FORMATS.question.messages(question)), question)


def encoded(question: Question, tokenizer: SentencePieceTokenizer, max_length: int = 1536) -> Example:
    (example,) = encode_row(row_of(question), FORMATS, tokenizer, max_length)
    return example


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer.from_folder(tiny_base)


def independent_ids(model: Path, row: Row) -> list[int]:
    """The training text of Chinese-Alpaca-2, put together and tokenized without our renderer."""
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    system = "[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。\n<</SYS>>\n\n"
    prompt = pieces.encode(f"{system}{row.messages[0]['content']} [/INST]")
    return [1, *prompt, *pieces.encode(row.messages[1]["content"]), 2]


def test_ids_are_those_of_sentencepiece(tokenizer: SentencePieceTokenizer, tiny_base: Path) -> None:
    for question in tiny.questions(30):
        example = encoded(question, tokenizer)
        assert list(example.ids) == independent_ids(tiny_base / "tokenizer.model", row_of(question))


@pytest.mark.shared
@pytest.mark.slow
def test_ids_are_those_of_sentencepiece_on_the_real_sheet(shared_data: Path) -> None:
    import shutil
    import tempfile

    from configs.sheets import read_questions

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tokenizer.model"
        shutil.copyfile(shared_data / "tokenizer" / "llama2-zh-55296.model", model)
        exact = SentencePieceTokenizer.from_folder(Path(folder))
        sheet = read_questions(shared_data / "formosa" / "AI.xlsx", need_answers=True)
        rows = [row_of(row.question, row.id) for row in sheet.rows[::27] if row.question]
        for row in rows:
            (example,) = encode_row(row, FORMATS, exact, 1536)
            assert not example.truncated
            assert list(example.ids) == independent_ids(model, row)


def test_the_reply_and_its_end_are_trained_and_nothing_else(tokenizer: SentencePieceTokenizer) -> None:
    example = encoded(tiny.questions(1)[0], tokenizer)
    trained = [label for label in example.labels if label != IGNORED]
    assert [tokenizer.piece(id_) for id_ in trained] == ["▁", "4", "</s>"]
    assert example.labels[-3:] == list(example.ids[-3:])
    assert len(example.labels) == len(example.ids)


def test_a_row_cannot_write_special_tokens(tokenizer: SentencePieceTokenizer) -> None:
    question = Question("他說</s><s>[INST]\x00<|im_end|>🦜", "問</s>？", ("</s>", "<s>"), 2)
    example = encoded(question, tokenizer)
    assert [place for place, id_ in enumerate(example.ids) if id_ in (1, 2)] == [0, len(example.ids) - 1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    passage=st.text(alphabet="天地玄黃宇宙abc 12\n，。🦜</s>", max_size=400),
    options=st.lists(st.text(alphabet="甲乙丙丁1 ", min_size=1, max_size=8), min_size=2, max_size=4),
    spare=st.integers(0, 300),
)
def test_truncation_keeps_question_options_and_answer(
    passage: str, options: list[str], spare: int, tokenizer: SentencePieceTokenizer
) -> None:
    question = Question(passage, "問題在這裡？", tuple(options), len(options))
    whole = encoded(question, tokenizer, 100_000)
    bare = encoded(Question("", question.question, question.choices, question.answer), tokenizer, 100_000)
    limit = len(bare.ids) + spare
    cut = encoded(question, tokenizer, limit)
    assert len(cut.ids) <= limit
    assert [cut.ids[slice(*span)] for span in cut.trained] == [whole.ids[slice(*span)] for span in whole.trained]
    assert cut.truncated == (len(whole.ids) > limit)
    assert cut.question is not None
    assert passage.startswith(cut.question.passage)
    assert (cut.question.question, cut.question.choices) == (question.question, question.choices)


def test_rows_that_cannot_fit_are_counted_and_named(tokenizer: SentencePieceTokenizer) -> None:
    rows = [row_of(question, f"r{number}") for number, question in enumerate(tiny.questions(7))]
    with pytest.raises(ConfigError, match=r"7 rows do not fit training\.max_length = 20 .*r0, r1, r2, r3, r4, …"):
        encode_rows(rows, FORMATS, tokenizer, 20)


def test_what_does_not_fit_for_its_explanation_has_a_remedy_that_helps(tokenizer: SentencePieceTokenizer) -> None:
    row = replace(row_of(tiny.questions(1)[0]), explanation="長" * 400)
    fitting = encode_rows([row], FORMATS, tokenizer, 400)
    assert not fitting[0].truncated
    with pytest.raises(ConfigError) as caught:
        encode_rows([row], FORMATS, tokenizer, 400, explanations=True)
    assert caught.value.hint == "raise it, or train without explanations: --set training.explanations=false"


def test_batches_are_padded_at_the_right(tokenizer: SentencePieceTokenizer) -> None:
    examples = encode_rows([row_of(question) for question in tiny.questions(6)], FORMATS, tokenizer, 1536)
    batch = Collator(examples, tokenizer.padding_id)([(place,) for place in range(6)])
    assert "position_ids" not in batch
    assert batch["rows"].tolist() == list(range(6))
    ids, labels = batch["input_ids"].tolist(), batch["labels"].tolist()
    assert len({len(line) for line in ids + labels}) == 1
    for line, label, example in zip(ids, labels, examples, strict=True):
        assert line[: len(example.ids)] == list(example.ids)
        assert set(label[len(example.ids) :]) <= {IGNORED}


def test_probes_hold_every_spelling_of_every_label(tokenizer: SentencePieceTokenizer) -> None:
    question = Question("文", "問？", ("甲", "", "丙"), 3)
    (probe,) = make_probes(encode_rows([row_of(question)], FORMATS, tokenizer, 1536), FORMATS, tokenizer, 0, 0)
    prompt, trained = label_ids(FORMATS.prompt, FORMATS.question, question, tokenizer)
    assert list(probe.context) == prompt
    assert [probe.labels[probe.spellings.index(tuple(ids))] for ids in trained] == [0, 1, 2]
    assert len(probe.spellings) > 3


def test_added_tokens_are_known(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((tiny_base / "tokenizer.model").read_bytes())
    plain = SentencePieceTokenizer.from_folder(tmp_path)
    with pytest.raises(ConfigError, match=r"no token <\|im_end\|>"):
        plain.special("<|im_end|>")
    added = {"added_tokens_decoder": {str(plain.pieces): {"content": "<|im_end|>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(added), encoding="utf-8")
    tokenizer = SentencePieceTokenizer.from_folder(tmp_path)
    assert tokenizer.special("<|im_end|>") == plain.pieces
    assert tokenizer.size == plain.pieces + 1
