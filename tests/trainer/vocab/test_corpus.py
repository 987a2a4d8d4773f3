"""Sentences to learn from, sentences held out, and a sample of a corpus that is too large."""

from __future__ import annotations

from pathlib import Path

from tests import tiny
from tests.trainer.vocab.conftest import sentences
from trainer.datasets.sources import open_sources
from trainer.vocab.corpus import MOST_CHARACTERS, Corpus


def opened(*paths: Path, split_on: str = "") -> Corpus:
    return Corpus(open_sources([(path, None) for path in paths], "", {}, ""), split_on)


def test_every_sentence_is_either_learnt_from_or_held_out_wherever_it_stands(tmp_path: Path) -> None:
    said = sentences(400)
    (tmp_path / "a.txt").write_text("\n".join(said), encoding="utf-8")
    (tmp_path / "b.txt").write_text("".join(reversed(said)) + "\n", encoding="utf-8")
    corpus = opened(tmp_path / "a.txt", tmp_path / "b.txt")
    learnt, held_out = list(corpus.training(10**9)), corpus.held_out()
    assert corpus.counts.sentences == 800
    assert set(learnt) | set(held_out) == set(said)
    assert not set(learnt) & set(held_out)
    assert 20 <= len(held_out) <= 60
    assert held_out == opened(tmp_path / "a.txt", tmp_path / "b.txt").held_out()


def test_of_too_much_text_a_sample_from_all_over_is_taken(tmp_path: Path) -> None:
    said = sentences(2000)
    (tmp_path / "a.txt").write_text("\n".join(said), encoding="utf-8")
    corpus = opened(tmp_path / "a.txt")
    wanted = corpus.counts.characters // 4
    taken = list(corpus.training(wanted))
    assert 0.8 * wanted < sum(map(len, taken)) < 1.1 * wanted
    places = [said.index(sentence) for sentence in taken]
    assert min(places) < 50
    assert max(places) > 1950
    assert not set(taken) & set(corpus.held_out())
    assert taken == list(opened(tmp_path / "a.txt").training(wanted))


def test_a_corpus_of_two_sentences_has_one_on_each_side(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(sentences(2)), encoding="utf-8")
    corpus = opened(tmp_path / "a.txt")
    assert (len(list(corpus.training(10**9))), len(corpus.held_out())) == (1, 1)


def test_a_long_text_is_cut_at_its_ends_then_at_spaces_and_marks(tmp_path: Path) -> None:
    ended = "好。" * 30 + "真的嗎？！" + "abc " * 400 + "།" + "ཀ་" * 900
    (tmp_path / "a.txt").write_text(ended + "\n再見。\n", encoding="utf-8")
    corpus = opened(tmp_path / "a.txt", split_on="་")
    found = [*corpus.training(10**9), *corpus.held_out()]
    assert {"好。", "真的嗎？！", "再見。"} <= set(found)
    assert max(map(len, found)) <= MOST_CHARACTERS
    assert all(sentence.endswith(("་", " ", "།", "。", "！")) for sentence in found)
    assert corpus.counts.cut_anywhere == 0


def test_exam_questions_are_read_without_the_wording_they_are_asked_in(tmp_path: Path) -> None:
    rows = tiny.questions(6)
    corpus = opened(tiny.sheet(tmp_path / "s.xlsx", rows))
    found = {*corpus.training(10**9), *corpus.held_out()}
    spoken = {part for row in rows for part in (row.passage, row.question, *row.choices)}
    assert found <= spoken
    assert rows[0].passage in found
