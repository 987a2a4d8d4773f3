"""tokenizer.json of a grown base: what AutoTokenizer makes of it, with SentencePiece as the judge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from tests import tiny
from tests.trainer.vocab.conftest import extend, run_vocab, sentences
from tests.trainer.vocab.test_grown_base import padded
from trainer.vocab.fast_tokenizer import agreement, write_fast_tokenizer
from trainer.vocab.model_file import ModelFile, NewPiece

AWKWARD = [
    "", " ", "  two  blanks ", "\n\nlines \n  b\n ", "\ttab", "▁", "🙂 é", "0xFF 12345", "<0x0A>", "[INST] ས་ [/INST]", "a\u3000b",
]  # fmt: skip


def texts() -> list[str]:
    """Texts of the corpus's script that were not learnt from, of the base's, and awkward ones."""
    return [*sentences(100, seed=7), *(question.passage for question in tiny.questions(50)), *AWKWARD]


def pieces_of(folder: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def opened(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_autotokenizer_cuts_every_text_as_sentencepiece_does(grown: Path) -> None:
    tokenizer, pieces = opened(grown), pieces_of(grown)
    assert len(tokenizer) == pieces.vocab_size()
    for text in texts():
        ids = pieces.encode(text)
        assert tokenizer.encode(text, add_special_tokens=False) == ids, text
        assert tokenizer.encode(text) == [1, *ids]
        assert tokenizer.decode(ids) == pieces.decode(ids)


def test_the_model_takes_what_autotokenizer_gives(grown: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(grown), opened(grown)
    given = tokenizer(sentences(1)[0], return_tensors="pt")
    assert set(given) == {"input_ids", "attention_mask"}
    assert model.generate(**given, max_new_tokens=2, do_sample=False).shape[1] == given["input_ids"].shape[1] + 2


def test_a_base_without_settings_gets_those_of_llama(tiny_base: Path, corpus: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    (base / "tokenizer_config.json").unlink()
    extend(corpus, base, tmp_path / "b", "--size", 100)
    tokenizer = opened(tmp_path / "b")
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<s>", "</s>", "<unk>")
    assert tokenizer("ས་")["input_ids"] == [1, *pieces_of(tmp_path / "b").encode("ས་")]


def test_settings_and_added_tokens_of_the_base_hold(tiny_base: Path, corpus: Path, tmp_path: Path) -> None:
    base = padded(Path(shutil.copytree(tiny_base, tmp_path / "base")), 704)
    size = pieces_of(base).vocab_size()
    plain = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8")) | {
        "bos_token": {"__type": "AddedToken", "content": "<s>", **plain},
        "add_eos_token": True,
        "auto_map": {"AutoTokenizer": ["code.Old", None]},
        "model_max_length": 2048,
        "added_tokens_decoder": {str(size): {"content": "<|end|>", "special": True, **plain}},
    }
    (base / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (base / "added_tokens.json").write_text(json.dumps({"<pad>": size + 2}), encoding="utf-8")
    (base / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<pad>"}), encoding="utf-8")
    extend(corpus, base, tmp_path / "b", "--size", 100)
    tokenizer, pieces = opened(tmp_path / "b"), pieces_of(tmp_path / "b")
    assert tokenizer.convert_tokens_to_ids(["<|end|>", "<pad>"]) == [size, size + 2]
    assert (tokenizer.pad_token_id, tokenizer.model_max_length, len(tokenizer)) == (size + 2, 2048, pieces.vocab_size())
    assert tokenizer("ས་<|end|>ས་")["input_ids"] == [1, *pieces.encode("ས་"), size, *pieces.encode("ས་"), 2]


@pytest.mark.parametrize(
    "rules",
    [
        {"remove_extra_whitespaces": True},
        {"add_dummy_prefix": False},
        {"add_dummy_prefix": False, "remove_extra_whitespaces": True},
        {"byte_fallback": False},
    ],
    ids=lambda rules: ",".join(rules),
)
def test_the_rules_of_the_model_are_followed(rules: dict[str, bool], tmp_path: Path) -> None:
    given = {"remove_extra_whitespaces": False, "byte_fallback": True} | rules
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*sentences(100), "a b c " * 3]), model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=500, model_type="bpe", normalization_rule_name="identity", hard_vocab_limit=False,
        character_coverage=1.0, minloglevel=3, **given,
    )  # fmt: skip
    model = ModelFile.read(tmp_path / "tokenizer.model")
    write_fast_tokenizer(tmp_path, tmp_path, model)
    found = agreement(tmp_path, model, texts())
    assert (found.sentences, found.sentences_otherwise, found.drawn_otherwise) == (len(texts()), 0, 0)
    assert found.drawn > 500


def test_pieces_of_one_score_are_told_where_they_show(tiny_base: Path, tmp_path: Path) -> None:
    base = padded(Path(shutil.copytree(tiny_base, tmp_path / "base")), 642)
    tied = [NewPiece("ཀཁ", 0.0), NewPiece("གཀ", 0.0)]  # of གཀཁ SentencePiece joins the first two
    path = base / "tokenizer.model"
    path.write_bytes(ModelFile.read(path).extended([NewPiece("ཀ", -900.0), *tied]))
    padded(base, 643)
    (tmp_path / "c.txt").write_text("\n".join(f"{said}གཀཁ" for said in sentences(100)), encoding="utf-8")
    code, out, err = run_vocab(tmp_path / "c.txt", base, tmp_path / "b", "--size", 100)
    assert code == 0, err
    report = json.loads((tmp_path / "b" / "vocabulary.json").read_text(encoding="utf-8"))
    assert report["transformers"]["sentences_otherwise"] > 0
    assert report["transformers"]["tied"] >= 1
    assert "otherwise" in out
    assert "a score that others have too" in out


def test_a_folder_that_lost_it_is_not_taken_for_done(
    tiny_base: Path, corpus: Path, grown: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(grown, tmp_path / "b"))
    (output / "tokenizer.json").unlink()
    code, _, err = run_vocab(corpus, tiny_base, output, "--size", 200)
    assert (code, "--overwrite" in err) == (2, True)
