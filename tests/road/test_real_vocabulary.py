"""The road on the real sheets with the 55,296-piece vocabulary: fit, merge, GGUF, predict, and one tokenization."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.exam import label_ids
from configs.sheets import read_questions
from tests import tiny
from tests.road.commands import done, predict

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.timeout(1200),
    pytest.mark.xdist_group("real-vocabulary"),
]


@pytest.fixture(scope="module")
def road(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 55,296 rows, trained a little on AI.xlsx, merged to q4_0."""
    out = tmp_path_factory.mktemp("road")
    tiny.base(out / "base", vocab_model=shared_data / "tokenizer" / "llama2-zh-55296.model")
    done("trainer", "prepare", shared_data / "formosa" / "AI.xlsx", "--output", out / "data", "--convert", "t2s")
    sets = ("training.steps=4", "training.batch_size=2", "training.accumulation=1", "evaluation.rows=8")
    words = [word for value in sets for word in ("--set", value)]
    done("trainer", "fit", "--model", out / "base", "--data", out / "data", "--output", out / "adapter", *words)
    merge = ("merge", "--base", out / "base", "--adapter", out / "adapter", "--format", "gguf")
    done("exporter", *merge, "--type", "q4_0", "--output", out / "model.gguf")
    return out


def test_exam_is_answered_in_sheet_order_and_the_same_twice(road, shared_data, tmp_path):
    exam = shared_data / "formosa" / "AI1000.xlsx"
    found = predict(exam, road / "model.gguf", tmp_path / "a.csv")
    assert (found["rows"], found["unanswered"]) == (1000, 0)
    first = (tmp_path / "a.csv").read_bytes()
    lines = first.decode("ascii").split("\r\n")
    assert lines[0] == "ID,Answer"
    assert lines[-1] == ""
    assert [line.split(",")[0] for line in lines[1:-1]] == [
        row.id for row in read_questions(exam, need_answers=False).rows
    ]
    assert {line.split(",")[1] for line in lines[1:-1]} <= {"1", "2", "3", "4"}
    again = predict(exam, road / "model.gguf", tmp_path / "a.csv", "--restart")
    assert (again["computed"], again["from_journal"]) == (1000, 0)
    assert (tmp_path / "a.csv").read_bytes() == first


def test_trainer_and_runtime_tokenize_every_prompt_alike(road, shared_data):
    from runtime.engine import ModelOptions, load_engine
    from trainer.tokenizer import SentencePieceTokenizer

    trained = SentencePieceTokenizer.from_folder(road / "base")
    engine = load_engine(ModelOptions(road / "model.gguf", threads=1))
    try:
        formats = engine.formats
        assert formats.question.convert == "t2s"
        rows = read_questions(shared_data / "formosa" / "AI1000.xlsx", need_answers=False).rows
        differing = [
            row.number
            for row in rows
            if label_ids(formats.prompt, formats.question, row.question, trained)
            != label_ids(formats.prompt, formats.question, row.question, engine.tokenizer)
        ]
        assert differing == []
    finally:
        engine.close()


def test_dataset_accounts_for_every_row(road):
    counts = json.loads((road / "data" / "dataset.json").read_text(encoding="utf-8"))
    assert counts["rows"] == 13_550
    assert counts["train"] + counts["validation"] + counts["rejected"] == 13_550
    assert counts["labels_normalised"] == 50
    assert counts["blank_options"] == 1
    passages = [
        {json.loads(line)["exam"]["passage"] for line in (road / "data" / name).open(encoding="utf-8")}
        for name in ("train.jsonl", "validation.jsonl")
    ]
    assert not passages[0] & passages[1]
