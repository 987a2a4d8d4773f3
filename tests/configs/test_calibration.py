"""Calibration, McNemar, texts and entities: numbers against an independent computation."""

from __future__ import annotations

import math
import random
from itertools import pairwise, product

import numpy as np
import pytest

from configs.calibration import Forecast, calibrate, temperature_hint
from configs.conversations import Entity
from configs.instructions import Record
from runtime.evaluation.entities import parse_answer, score_entities
from runtime.evaluation.texts import character_f1, normalise, score_texts
from runtime.paired import compare


def forecasts(count: int, *, sharpness: float, seed: int = 0) -> list[Forecast]:
    """Rows whose right option is drawn from honest probabilities; what is told of them is `sharpness` times as sure."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        logits = draw.normal(0, 1.5, 4)
        honest = np.exp(logits) / np.exp(logits).sum()
        told = np.exp(sharpness * logits) / np.exp(sharpness * logits).sum()
        found.append(Forecast(tuple(map(float, told)), int(told.argmax()), int(draw.choice(4, p=honest))))
    return found


def test_ece_brier_and_log_loss_by_numpy() -> None:
    rows = forecasts(500, sharpness=2.0)
    shares = np.array([row.probabilities for row in rows])
    gold = np.array([row.gold for row in rows])
    right = np.array([row.chosen == row.gold for row in rows])
    confidence = shares.max(axis=1)
    edges = np.linspace(0, 1, 11)
    ece = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    measured = calibrate(rows)
    assert measured is not None
    assert measured.ece == pytest.approx(ece, abs=1e-12)
    assert measured.brier == pytest.approx(((shares - np.eye(4)[gold]) ** 2).sum(axis=1).mean(), abs=1e-12)
    assert measured.log_loss == pytest.approx(-np.log(shares[np.arange(500), gold]).mean(), abs=1e-12)
    assert sum(one.accuracy.total for one in measured.bins) == 500


def test_the_temperature_that_sharpened_the_probabilities_is_found_again() -> None:
    rows = forecasts(4000, sharpness=2.0)
    hint, measured = temperature_hint(rows), calibrate(rows)
    assert hint is not None
    assert measured is not None
    assert hint.temperature == pytest.approx(2.0, abs=0.1)
    assert hint.ece < measured.ece / 3
    assert hint.log_loss < measured.log_loss


def test_few_rows_get_no_temperature() -> None:
    assert temperature_hint(forecasts(199, sharpness=2.0)) is None
    assert temperature_hint(forecasts(200, sharpness=2.0)) is not None
    assert calibrate([]) is None


def test_answers_that_are_always_right_do_not_send_the_temperature_to_nothing() -> None:
    hint = temperature_hint([Forecast((0.7, 0.3), 0, 0)] * 200)
    assert hint is not None
    assert hint.temperature == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (3, 3), (2, 9), (10, 4)])
def test_mcnemar_by_counting_every_outcome(only_first: int, only_second: int) -> None:
    rows = [("a", 1, 1, 2)] * only_first + [("b", 1, 2, 1)] * only_second + [("c", 1, 1, 1)] * 5 + [("d", 1, 2, 3)] * 2
    found = compare(rows)
    n = only_first + only_second
    outcomes = [sum(flips) for flips in product((0, 1), repeat=n)]
    far = abs(only_first - n / 2)
    exact = sum(abs(hits - n / 2) >= far for hits in outcomes) / len(outcomes)
    same = sum(hits == only_first for hits in outcomes) / len(outcomes)
    assert found.p_exact == pytest.approx(exact)
    assert found.p_mid == pytest.approx(1.0 if only_first == only_second else exact - same)
    assert (found.both_right, found.both_wrong, found.rows) == (5, 2, n + 7)
    assert len(found.disagreements) == n + 2
    assert found.interval[0] <= found.difference <= found.interval[1]


def test_mcnemar_of_thousands_of_rows_stays_finite() -> None:
    found = compare([("a", 1, 1, 2)] * 3100 + [("b", 1, 2, 1)] * 2900)
    assert 0.009 < found.p_mid < found.p_exact < 0.011  # the normal approximation gives 0.0098


def test_entities_by_sets() -> None:
    draw = random.Random(0)
    names, kinds = [f"名{number}" for number in range(6)], ["人名", "地名", "机构名"]
    rows, golds, answers = [], [], []
    for number in range(50):
        gold = {(draw.choice(names), draw.choice(kinds)) for _ in range(draw.randrange(4))}
        said = {(draw.choice(names), draw.choice(kinds)) for _ in range(draw.randrange(4))} | set(list(gold)[:1])
        message = {"role": "user", "content": "".join(names)}
        record = Record(number, str(number), (message,), entities=tuple(Entity(*pair) for pair in sorted(gold)))
        rows.append((record, "\n".join("_".join(pair) for pair in sorted(said)) or "没有"))
        golds += [(number, *pair) for pair in gold]
        answers += [(number, *pair) for pair in said]
    scores = score_entities(rows)
    right = len(set(golds) & set(answers))
    assert scores.micro.precision == right / len(answers)
    assert scores.micro.recall == right / len(golds)
    assert scores.micro.f1 == pytest.approx(2 * right / (len(answers) + len(golds)))
    assert set(scores.by_type) == {"PER", "LOC", "ORG"}
    assert scores.macro_f1 == pytest.approx(math.fsum(one.f1 or 0 for one in scores.by_type.values()) / 3)
    assert (scores.unreadable, scores.not_in_text) == (0, 0)


@pytest.mark.parametrize(
    ("answer", "pairs", "whole"),
    [
        ("北京_地名\n郑振铎_人名", {("北京", "LOC"), ("郑振铎", "PER")}, True),
        ("北京_地名\n北京_地名", {("北京", "LOC")}, True),
        ("C_3_PO_人名", {("C_3_PO", "PER")}, True),
        ("没有", set(), True),
        ("沒有。", set(), True),
        ("", set(), False),
        ("我不知道", set(), False),
        ("北京_地名\n等等", {("北京", "LOC")}, False),
        ("台北＿地名", {("台北", "LOC")}, True),
        ("_地名", set(), False),
    ],
)
def test_what_an_answer_names(answer: str, pairs: set[tuple[str, str]], whole: bool) -> None:
    assert parse_answer(answer) == (pairs, whole)


def test_an_entity_that_the_text_has_not_is_counted() -> None:
    record = Record(1, "1", ({"role": "user", "content": "在北京"},), references=("北京_地名",))
    scores = score_entities([(record, "北京_地名\n上海_地名")])
    assert (scores.not_in_text, scores.exact, scores.micro.spurious) == (1, 0, 1)


def test_idle_talk_about_a_text_without_entities_is_not_right() -> None:
    record = Record(1, "1", ({"role": "user", "content": "下雨"},), references=("没有",))
    assert [score_entities([(record, answer)]).exact for answer in ("没有", "今天下雨。", "")] == [1, 0, 0]


@pytest.mark.parametrize(
    ("reference", "reply", "f1"),
    [
        ("台北市", "台北市。", 1.0),
        ("台北市", "臺中", 0.0),
        ("台北市", "台北", 0.8),
        ("ＡＢＣ", "a b c", 1.0),
        ("", "", 1.0),
        ("甲", "", 0.0),
        ("甲甲乙", "甲乙乙", 2 / 3),
    ],
)
def test_character_f1(reference: str, reply: str, f1: float) -> None:
    assert character_f1(reference, reply) == pytest.approx(f1)


def test_the_best_of_several_known_replies_counts() -> None:
    scores = score_texts([(("台北", "台北市"), "台北市！"), (("高雄",), "台南")])
    assert (scores.exact.correct, scores.f1) == (1, 0.5)
    assert normalise(" 3 + 4\n= ７ ") == "3+4=7"
