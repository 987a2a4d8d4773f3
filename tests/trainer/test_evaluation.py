"""Accuracy by label probability: against each spelling scored by itself, and what the report makes of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from configs.exam import Question
from configs.formats import Formats
from configs.label_rule import by_label, ranked, shares
from tests import tiny
from tests.trainer.conftest import records, run_fit
from trainer.datasets.folder import Row
from trainer.evaluation import Answered, _longest_stems, evaluate, make_probes
from trainer.examples import encode_rows
from trainer.tokenizer import SentencePieceTokenizer
from trainer.validation_report import validation_report

FORMATS = Formats.load("alpaca2", "formosa")


def test_beginnings_of_longer_stems_need_no_sequence_of_their_own() -> None:
    assert _longest_stems([(7, 1), (7, 2), (1,), (2,), (9, 1), (7, 8, 1)]) == [(7, 8), (9,)]
    assert _longest_stems([(1,), (2,)]) == [()]


def test_the_rule_adds_spellings_up_and_passes_blank_options_by() -> None:
    values = by_label((0, 1, 0, 2), [math.log(share) for share in (0.1, 0.2, 0.15, 0.5)])
    assert values == pytest.approx([math.log(0.25), math.log(0.2), math.log(0.5)])
    question = Question("文", "問", ("甲", "乙", ""), 2)
    assert ranked(question, values) == [1, 2]
    assert shares(question, values) == pytest.approx((0.25 / 0.45, 0.2 / 0.45, 0))
    assert ranked(question, [0.0, 0.0, 9.0]) == [1, 2], "of equals the first"


@pytest.mark.slow
def test_an_evaluation_is_each_spelling_scored_by_itself(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    assert FORMATS.question is not None
    tokenizer = SentencePieceTokenizer.from_folder(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base).train()
    questions = [*tiny.questions(5), Question("文章很長" * 9, "問？", ("甲", "", "丙"), 3)]
    rows = [Row(str(n), tuple(FORMATS.question.messages(q)), q, source="自編") for n, q in enumerate(questions)]
    probes = make_probes(encode_rows(rows, FORMATS, tokenizer, 1536), FORMATS, tokenizer, 0, 0)
    rows_at_once: list[int] = []
    model.register_forward_pre_hook(
        lambda _model, _args, given: rows_at_once.append(len(given["input_ids"])), with_kwargs=True
    )
    for batch_size in (1, 4):
        rows_at_once.clear()
        score = evaluate(model, probes, batch_size=batch_size, padding_id=0, device=torch.device("cpu"))
        assert model.training, "it trains on as before"
        assert max(rows_at_once) == batch_size
        assert sum(rows_at_once) == sum(len(_longest_stems(probe.spellings)) for probe in probes) > len(probes)
        for probe, row in zip(probes, score.rows, strict=True):
            alone = []
            for spelling in probe.spellings:
                ids = torch.tensor([[*probe.context, *spelling]])
                with torch.no_grad():
                    log_probs = model.eval()(input_ids=ids).logits[0].double().log_softmax(-1)
                at = len(probe.context) - 1
                alone.append(sum(float(log_probs[at + step, id_]) for step, id_ in enumerate(spelling)))
            model.train()
            values = by_label(probe.labels, alone)
            assert row.probabilities == pytest.approx(shares(probe.question, values), abs=1e-6)
            assert (row.place, row.source) == (ranked(probe.question, values)[0], "自編")
        assert score.rows[-1].probabilities[1] == 0
        assert score.accuracy == sum(row.place == row.answer for row in score.rows) / 6


def answered(confidence: float, place: int, answer: int, source: str) -> Answered:
    rest = (1 - confidence) / 3
    return Answered(tuple(confidence if at == place else rest for at in range(1, 5)), place, answer, source)


def test_the_report_has_calibration_and_each_source() -> None:
    rows = [answered(0.7, 1, 1 if number % 2 else 2, "甲" if number < 60 else "乙") for number in range(240)]
    report = validation_report(rows)
    assert report is not None
    assert (report["rows"], report["correct"], report["accuracy"]) == (240, 120, 0.5)
    assert report["ece"] == pytest.approx(0.2)
    assert report["temperature"] > 1.2, "it was too sure"
    assert report["ece_at_temperature"] < 0.15
    assert {name: one["rows"] for name, one in report["sources"].items()} == {"甲": 60, "乙": 180}
    assert validation_report([]) is None
    small = validation_report(rows[:50])
    assert small is not None
    assert (small["temperature"], small["sources"]) == (None, {})


@pytest.fixture(scope="module")
def stopped(tiny_base: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learns nothing after its first evaluation, and has patience."""
    output = tmp_path_factory.mktemp("stopped") / "a"
    code, _, err = run_fit(
        tiny_base, dataset, output, "--deepspeed", "none", training__steps=40, training__learning_rate=1e-12,
        evaluation__every=2, evaluation__patience=3, evaluation__rows=0,
    )  # fmt: skip
    assert code == 0, err
    assert "nothing better since step" in err
    return output


@pytest.mark.slow
def test_a_run_that_finds_nothing_better_ends(stopped: Path) -> None:
    record = json.loads((stopped / "training.json").read_text(encoding="utf-8"))
    assert record["result"]["steps"] == record["best_step"] + 3 * 2 < 40
    assert records(stopped)[-1]["step"] == record["result"]["steps"]


@pytest.mark.slow
def test_the_folder_tells_what_it_is_in_its_readme(stopped: Path) -> None:
    card = (stopped / "README.md").read_text(encoding="utf-8")
    record = json.loads((stopped / "training.json").read_text(encoding="utf-8"))
    validation = record["result"]["validation"]
    assert card.startswith("---\nbase_model: ")
    assert f"exam accuracy {validation['accuracy']:.1%} on 12 rows" in card
    assert f"expected calibration error {validation['ece']:.3f}" in card
    assert "| sheet.xlsx | exam | 48 | 12 |" in card
    assert "| lora.rank | 4 |" in card
    assert record["data"]["sha256"] in card
    assert validation["rows"] == 12


@pytest.mark.slow
def test_explanations_are_trained_after_the_label_where_they_are_asked_for(tiny_base: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.jsonl"
    lines = [
        {
            "id": number, "passage": q.passage, "question": q.question, "choices": list(q.choices), "answer": q.answer,
            "解析": "文章這麼說。", "來源": f"第{number % 2}冊",
        }
        for number, q in enumerate(tiny.questions(40))
    ]  # fmt: skip
    sheet.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    code, _, err = tiny.run_cli("trainer.cli", "prepare", sheet, "--output", tmp_path / "data")
    assert code == 0, err
    row = json.loads((tmp_path / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (row["exam"]["explanation"], row["messages"][-1]["content"]) == ("文章這麼說。", str(row["exam"]["answer"]))
    for name, explanations in (("a", "false"), ("b", "true")):
        code, _, err = run_fit(
            tiny_base, tmp_path / "data", tmp_path / name, "--deepspeed", "none", training__explanations=explanations
        )
        assert code == 0, err
    short, long = (records(tmp_path / name) for name in ("a", "b"))
    assert [line["loss"] for line in short if "loss" in line] != [line["loss"] for line in long if "loss" in line]
    result = json.loads((tmp_path / "b" / "training.json").read_text(encoding="utf-8"))["result"]
    assert set(result["validation"]["sources"]) == {"第0冊", "第1冊"}
