"""Which pieces are appended, with SentencePiece as the judge of every one of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import sentencepiece

from tests import tiny
from tests.trainer.vocab.conftest import extend, run_vocab, sentences
from trainer.vocab.extension import extend as choose
from trainer.vocab.merging import segment
from trainer.vocab.model_file import CONTROL, ModelFile, NewPiece
from trainer.vocab.rows import old_ids

WALL = "\U0010fffd"


def opened(folder: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def new_ids(old: Path, new: Path) -> range:
    return range(opened(old).vocab_size(), opened(new).vocab_size())


def test_appended_pieces_are_all_that_changes_in_the_file(tiny_base: Path) -> None:
    base = ModelFile.read(tiny_base / "tokenizer.model")
    data = base.extended([NewPiece("ཀཁ", -1234.0), NewPiece("<here>", 0.0, CONTROL)])
    assert data.startswith(base.data)
    model = sentencepiece.SentencePieceProcessor(model_proto=data)
    assert model.vocab_size() == base.pieces + 2
    assert [model.id_to_piece(base.pieces + place) for place in (0, 1)] == ["ཀཁ", "<here>"]
    assert model.get_score(base.pieces) == -1234.0
    assert model.is_control(base.pieces + 1)
    assert model.encode("ཀཁ")[-1] == base.pieces


def test_a_text_is_cut_as_sentencepiece_cuts_it(tiny_base: Path) -> None:
    base = ModelFile.read(tiny_base / "tokenizer.model")
    scores = base.normal_pieces()
    draw = random.Random(0)
    alphabet = [*sorted({letter for piece in scores for letter in piece} - {"▁"}), "྄", "é"]
    texts = ["".join(draw.choices(alphabet, k=draw.randint(1, 30))) for _ in range(300)]
    for text in [*texts, *(question.passage for question in tiny.questions(20))]:
        encoded = base.processor.encode(WALL + text)
        wall = base.processor.encode(WALL)
        assert old_ids(text, base, scores) == encoded[len(wall) :]


def test_parts_that_are_missing_come_first_and_scores_fall(tiny_base: Path) -> None:
    old = {"a": -1.0, "b": -2.0, "bc": -3.0}
    found = choose(["abcd", "b", "dd"], old, size=10)
    assert found.texts == ["abc", "abcd", "dd"]
    assert list(found.intermediates) == ["abc"]
    assert found.known == 1
    scores = old | {piece.text: piece.score for piece in found.pieces(min(old.values()))}
    assert segment("abcd", scores.get) == ["abcd"]
    new = [piece.score for piece in found.pieces(-3.0)]
    assert new == sorted(new, reverse=True)
    assert len(set(new)) == len(new)
    assert max(new) < -3.0


def test_a_part_that_may_not_be_a_piece_leaves_its_whole_out() -> None:
    found = choose(["abc", "xy"], {}, size=10, taken=frozenset({"ab", "bc"}))
    assert (found.texts, found.unreachable) == (["xy"], ["abc"])


def test_parts_count_against_the_size() -> None:
    found = choose(["ab", "defg", "hi"], {}, size=3)
    assert (found.texts, found.beyond) == (["ab", "hi"], 1)


def test_characters_come_first() -> None:
    assert choose(["ab", "a", "b"], {}, size=2).texts == ["a", "b"]


@pytest.mark.parametrize(("kind", "split_on"), [("bpe", ""), ("bpe", "་"), ("unigram", ""), ("unigram", "་")])
def test_text_reaches_every_new_piece(kind: str, split_on: str, tiny_base: Path, corpus: Path, tmp_path: Path) -> None:
    cut = ("--split-on", split_on) if split_on else ()
    report = extend(corpus, tiny_base, tmp_path / "b", "--type", kind, "--size", 200, *cut)
    model = opened(tmp_path / "b")
    ids = new_ids(tiny_base, tmp_path / "b")
    assert len(ids) == report["new"] == report["pieces"]["after"] - report["pieces"]["before"] > 100
    for id_ in ids:
        piece = model.id_to_piece(id_)
        assert id_ in model.encode(WALL + piece.replace("▁", " ") + WALL), piece
        assert not split_on or split_on not in piece[:-1]
    scores = [model.get_score(id_) for id_ in ids]
    old = [score for id_ in range(ids.start) if (score := model.get_score(id_)) > -1e8]
    assert all(later < earlier for earlier, later in zip([min(old), *scores], scores, strict=False))
    if kind == "unigram":
        assert report["intermediates"]
        assert set(report["intermediates"]) <= {model.id_to_piece(id_) for id_ in ids}


def test_other_texts_keep_their_ids(tiny_base: Path, grown: Path) -> None:
    old, new = opened(tiny_base), opened(grown)
    for question in tiny.questions(100):
        assert new.encode(question.passage) == old.encode(question.passage)


def test_the_report_counts_texts_that_were_not_learnt_from(tiny_base: Path, grown: Path, corpus: Path) -> None:
    report = json.loads((grown / "vocabulary.json").read_text(encoding="utf-8"))
    held = report["held_out"]
    assert 15 <= held["sentences"] <= 45
    assert report["shorter"] == pytest.approx(1 - held["after"] / held["before"])
    assert report["shorter"] > 0.7
    assert held["byte_tokens_after"] == 0 < held["byte_tokens_before"]
    fresh = sentences(50, seed=9)
    old, new = (sum(len(opened(folder).encode(text)) for text in fresh) for folder in (tiny_base, grown))
    assert new < 0.4 * old


def test_size_is_cut_to_what_the_corpus_gives_and_said(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("\n".join(sentences(6)), encoding="utf-8")
    code, out, err = run_vocab(tmp_path / "c.txt", tiny_base, tmp_path / "b")
    assert code == 0, err
    assert "--size 16,000 was more than it holds" in out
    code, _, err = run_vocab(tmp_path / "c.txt", tiny_base, tmp_path / "b3", "--size", 3)
    assert code == 2
    assert "different characters" in err
    assert not (tmp_path / "b3").exists()


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_no_size_is_too_large(kind: str, tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("\n".join(sentences(20)), encoding="utf-8")
    code, out, err = run_vocab(tmp_path / "c.txt", tiny_base, tmp_path / "b", "--size", 10**20, "--type", kind)
    assert code == 0, err
    assert f"--size {10**20:,} was more than it holds" in out


def test_pieces_that_the_base_has_do_not_count(tiny_base: Path, tmp_path: Path) -> None:
    known = [text for question in tiny.questions(200) for text in (question.passage, question.question)]
    (tmp_path / "c.txt").write_text("\n".join([*known * 3, *sentences(60)]), encoding="utf-8")
    report = extend(tmp_path / "c.txt", tiny_base, tmp_path / "b", "--size", 120)
    assert report["known"] > 60
    assert 108 <= report["new"] <= 120
    new = {char for text in sentences(60) for char in text}
    assert len(new) < len({char for text in known for char in text})
    report = extend(tmp_path / "c.txt", tiny_base, tmp_path / "b2", "--size", len(new))
    assert report["new"] == len(new)
    code, _, err = run_vocab(tmp_path / "c.txt", tiny_base, tmp_path / "b3", "--size", len(new) - 1)
    assert (code, f"{len(new)} different characters" in err) == (2, True)


def test_split_on_takes_characters_alone(tiny_base: Path, corpus: Path, tmp_path: Path) -> None:
    code, _, err = run_vocab(corpus, tiny_base, tmp_path / "b", "--split-on", "\udcff")
    assert (code, "--split-on" in err) == (2, True)
    code, _, err = run_vocab(corpus, tiny_base, tmp_path / "b", "--split-on", "་|", "--size", 100)
    assert code == 0, err
    assert "--split-on: '|' stands nowhere in the corpus" in err


def test_no_line_is_too_long_and_none_is_left_out(tiny_base: Path, tmp_path: Path) -> None:
    syllable, rare = "གནས་", "ལྷག་"
    words = [syllable] * 3000 + [rare] * 30 + [syllable] * 3000
    text = "".join(words) + "ཛཛ▅ཝཝ" * 20
    (tmp_path / "c.txt").write_text(text + "\n" + "ཨོཾ་" * 40 + "\n", encoding="utf-8")
    report = extend(tmp_path / "c.txt", tiny_base, tmp_path / "b", "--size", 60, "--split-on", "་")
    assert report["corpus"]["characters"] == len(text.replace("▅", "")) + 160
    assert report["corpus"]["cut_anywhere"] == 0
    pieces = {opened(tmp_path / "b").id_to_piece(id_) for id_ in new_ids(tiny_base, tmp_path / "b")}
    assert {syllable, rare, "ཛ", "ཝ"} <= pieces
    report = extend(tmp_path / "c.txt", tiny_base, tmp_path / "b2", "--size", 60)
    assert report["corpus"]["cut_anywhere"] > 20


def test_every_kind_of_file_is_read(tiny_base: Path, tmp_path: Path) -> None:
    said = sentences(30)
    lines = [json.dumps({"instruction": text, "output": said[0]}, ensure_ascii=False) for text in said]
    (tmp_path / "c.jsonl").write_text("\n".join([*lines, "{broken"]), encoding="utf-8")
    (tmp_path / "c.txt").write_text("\n".join(said), encoding="utf-8")
    command = ("vocab", tmp_path / "c.jsonl", tmp_path / "c.txt", "--model", tiny_base, "--output", tmp_path / "b")
    code, out, err = tiny.run_cli("trainer.cli", *command, "--size", 60)
    assert code == 0, err
    assert "unread    1 rows" in out
    report = json.loads((tmp_path / "b" / "vocabulary.json").read_text(encoding="utf-8"))
    assert report["corpus"]["texts"] == 60


def test_a_corpus_that_is_known_or_empty_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("春天\n春天\n", encoding="utf-8")
    code, _, err = run_vocab(tmp_path / "c.txt", tiny_base, tmp_path / "b")
    assert (code, "a single sentence" in err) == (2, True)
    (tmp_path / "c.txt").write_text("\n", encoding="utf-8")
    code, _, err = run_vocab(tmp_path / "c.txt", tiny_base, tmp_path / "b")
    assert (code, "empty" in err) == (2, True)
    code, _, err = run_vocab(tmp_path / "none.txt", tiny_base, tmp_path / "b")
    assert (code, "does not exist" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["c.txt"]
