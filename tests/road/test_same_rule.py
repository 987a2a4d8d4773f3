"""Training's accuracy is predict's: the same questions, the same probabilities."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests import tiny


@pytest.mark.slow
@pytest.mark.parametrize("prompt_format", ["alpaca2", "vicuna"])
def test_an_evaluation_while_training_gives_what_predict_gives(prompt_format: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from trainer.datasets.folder import read_dataset
    from trainer.evaluation import evaluate, make_probes
    from trainer.examples import encode_rows
    from trainer.tokenizer import SentencePieceTokenizer

    base = tiny.base(tmp_path / "base", format=prompt_format)
    sheet = tiny.sheet(tmp_path / "sheet.xlsx", tiny.questions(24))
    for command in (
        ("trainer.cli", "prepare", sheet, "--output", tmp_path / "data", "--prompt-format", prompt_format,
         "--validation", 0.5),
        ("exporter.cli", "merge", "--base", base, "--format", "gguf", "--type", "f32", "--output", tmp_path / "m.gguf"),
        ("runtime.cli", "predict", sheet, "--model", tmp_path / "m.gguf", "--output", tmp_path / "full.csv",
         "--columns", "full"),
    ):  # fmt: skip
        code, _, err = tiny.run_cli(*command)
        assert code == 0, err
    with (tmp_path / "full.csv").open(encoding="utf-8-sig", newline="") as file:
        predicted = {row["ID"]: row for row in csv.DictReader(file)}
    dataset = read_dataset(tmp_path / "data")
    tokenizer = SentencePieceTokenizer.from_folder(base)
    examples = encode_rows(dataset.validation, dataset.formats, tokenizer, 1536)
    probes = make_probes(examples, dataset.formats, tokenizer, 0, 0)
    model = AutoModelForCausalLM.from_pretrained(base)
    score = evaluate(model, probes, batch_size=4, padding_id=0, device=torch.device("cpu"))
    assert len(score.rows) >= 10
    for example, row in zip(examples, score.rows, strict=True):
        theirs = predicted[example.id]
        assert str(row.place) == theirs["Answer"]
        shares = [float(theirs[name]) for name in theirs if name.startswith("P(")]
        assert len(shares) == 4
        assert row.probabilities == pytest.approx(shares, abs=2e-5)
