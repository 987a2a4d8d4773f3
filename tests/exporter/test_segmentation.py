"""The check after every GGUF, and vocabularies of which only tokenizer.json is left."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from configs.formats import FORMAT_FILE, Formats
from exporter.check_texts import CHECK_TEXTS
from exporter.segmentation import built_in_texts, check_segmentation
from exporter.sources.tokenizer_files import find_tokenizer
from tests import tiny
from tests.exporter import byte_level
from tests.exporter.conftest import merge
from tests.exporter.oracles import LlamaCpp, gguf_keys
from tests.tiny import run_cli


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "the-base"))


def fail(base: Path, output: Path) -> str:
    code, _, err = run_cli("exporter.cli", "merge", "--base", base, "--format", "gguf", "--output", output)
    assert code == 1
    assert not output.parent.exists() or not list(output.parent.iterdir())
    assert "unexpected" not in err
    return err


def test_vocabulary_that_llama_cpp_reads_otherwise_leaves_no_file(base: Path, tmp_path: Path) -> None:
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(settings | {"add_prefix_space": False}))
    err = fail(base, tmp_path / "out" / "m.gguf")
    assert "llama.cpp would segment text otherwise" in err
    assert "The quick brown fox" in err


def test_wrong_pre_tokenizer_is_found_by_tokenizing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = byte_level.model(tmp_path / "base", "llama")
    monkeypatch.setattr("exporter.gguf_tokenizer.pre_tokenizer_name", lambda *_, **__: "gpt-2")
    assert "llama.cpp would segment text otherwise" in fail(base, tmp_path / "out" / "m.gguf")


@pytest.mark.parametrize("rule", ["nmt_nfkc", "identity"])
def test_sentencepiece_models_that_normalize_are_refused_with_the_reason(rule: str, base: Path, tmp_path: Path) -> None:
    """Full-width commas and digits, which every Chinese sheet has, would be other tokens in llama.cpp."""
    import sentencepiece

    corpus = [question.passage + question.question for question in tiny.questions(200)] + ["Ａ１，“two  words” ㈱"] * 5
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_prefix=str(base / "tokenizer"), model_type="bpe", vocab_size=640,
        byte_fallback=True, normalization_rule_name=rule, remove_extra_whitespaces=rule != "identity",
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    if rule == "identity":
        merge(base, tmp_path / "out" / "m.gguf")
        return
    err = fail(base, tmp_path / "out" / "m.gguf")
    assert "than the tokenizer the model was trained with, which normalizes text first" in err
    assert "--format huggingface" in err
    folder = merge(base, tmp_path / "folder", format="huggingface")
    assert (folder / "tokenizer.model").read_bytes() == (base / "tokenizer.model").read_bytes()


def test_text_of_the_prompt_format_is_checked(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "exporter.ggml.llama_child.tokenize", lambda _, texts: asked.extend(texts) or [[] for _ in texts]
    )
    fail(base, tmp_path / "out" / "m.gguf")
    formats = Formats.from_folder(base)
    assert formats is not None
    assert any(formats.prompt.system in text for text in asked)
    assert len(asked) > len(CHECK_TEXTS)


def test_without_llama_cpp_the_check_is_skipped_and_said(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.ggml.llama_child.has_llama_cpp", lambda: False)
    monkeypatch.setattr("exporter.ggml.llama_child.tokenize", None)
    words = ["--base", base, "--format", "gguf", "--type", "f16", "--output", tmp_path / "m.gguf"]
    code, _, err = run_cli("exporter.cli", "merge", *words)
    assert code == 0
    assert "the GGUF's tokenizer is not checked" in err


def test_texts_with_added_tokens_are_left_out(base: Path) -> None:
    (base / "added_tokens.json").write_text(json.dumps({"[PAD]": 639}))
    texts = built_in_texts(find_tokenizer([base]))
    assert len(texts) == len(CHECK_TEXTS) - 1
    assert not any("[PAD]" in text for text in texts)


def sentencepiece_json(model: Path, target: Path) -> None:
    """The tokenizer.json of a SentencePiece BPE, as transformers' converter writes it."""
    import tokenizers
    from sentencepiece import SentencePieceProcessor
    from tokenizers import decoders, models, normalizers

    pieces = SentencePieceProcessor(model_file=str(model))
    texts = [pieces.id_to_piece(number) for number in range(pieces.vocab_size())]
    known = {text: number for number, text in enumerate(texts)}
    merges = [
        (pieces.get_score(number), text[:cut], text[cut:])
        for number, text in enumerate(texts)
        if not pieces.is_byte(number) and not pieces.is_control(number) and not pieces.is_unknown(number)
        for cut in range(1, len(text))
        if text[:cut] in known and text[cut:] in known
    ]
    merges.sort(key=lambda merge: -merge[0])
    made = tokenizers.Tokenizer(
        models.BPE(
            known, [(left, right) for _, left, right in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.save(str(target))


def test_scores_come_back_from_the_ranks_of_merges(base: Path, tmp_path: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(base / "tokenizer.model"))
    whole = gguf_keys(merge(base, tmp_path / "whole.gguf"))
    sentencepiece_json(base / "tokenizer.model", base / "tokenizer.json")
    (base / "tokenizer.model").unlink()
    path = merge(base, tmp_path / "m.gguf")
    keys = gguf_keys(path)
    for name in ("tokens", "token_type", "bos_token_id", "eos_token_id", "add_bos_token", "model", "pre"):
        assert keys[f"tokenizer.ggml.{name}"] == whole[f"tokenizer.ggml.{name}"]
    assert len(set(keys["tokenizer.ggml.scores"])) > 100
    draw = random.Random(3)
    corpus = "".join(question.passage + question.question + " 123 abc\n" for question in tiny.questions(50))
    texts = [corpus[(at := draw.randrange(len(corpus) - 40)) : at + draw.randint(1, 40)] for _ in range(300)]
    engine = LlamaCpp(path)
    assert [text for text in texts if engine.tokenize(text) != pieces.encode(text)] == []
    engine.close()


def test_lost_scores_are_found_by_tokenizing(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What llama.cpp's converter writes without tokenizer.model: every piece there, every score the same."""
    from dataclasses import replace

    from exporter import gguf_tokenizer

    sentencepiece_json(base / "tokenizer.model", base / "tokenizer.json")
    (base / "tokenizer.model").unlink()
    rebuild = gguf_tokenizer.rebuild_pieces
    monkeypatch.setattr(
        gguf_tokenizer, "rebuild_pieces", lambda found: [replace(piece, score=-1000.0) for piece in rebuild(found)]
    )
    assert "llama.cpp would segment text otherwise" in fail(base, tmp_path / "out" / "m.gguf")


@pytest.mark.parametrize(("architecture", "name"), [("qwen2", "chatml"), ("llama", "llama3")])
def test_byte_level_models_answer_a_sheet(architecture: str, name: str, tmp_path: Path) -> None:
    base = byte_level.model(tmp_path / "base", architecture)
    formats = Formats.from_folder(base)
    assert formats is not None
    assert formats.prompt.name == name
    assert (base / FORMAT_FILE).is_file()
    path = merge(base, tmp_path / "m.gguf", type="f16")
    check_segmentation(path, find_tokenizer([base]), formats)
    sheet = tiny.sheet(tmp_path / "sheet.xlsx", tiny.questions(4))
    words = ["predict", sheet, "--model", path, "--output", tmp_path / "answers.csv", "--json"]
    code, out, err = run_cli("runtime.cli", *words)
    assert code == 0, err
    assert json.loads(out)["computed"] == 4
    assert (tmp_path / "answers.csv").read_text().count("\n") == 5
