"""Label probabilities from the sheet's question to the number, beside transformers on the same f32 weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.answering import Asker, weigh
from runtime.engine import ModelOptions, load_engine
from tests import tiny

pytestmark = pytest.mark.slow

QUESTIONS = 200
NEAR = 1e-3  # nats


def test_label_log_probabilities_are_those_of_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    base = tiny.base(tmp_path / "base", hidden=128, layers=3, seed=3)
    merged = tmp_path / "model.gguf"
    words = ("--base", base, "--format", "gguf", "--type", "f32", "--output", merged)
    assert tiny.run_cli("exporter.cli", "merge", *words)[0] == 0
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()

    def log_probability(prompt: list[int], continuation: tuple[int, ...]) -> float:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *continuation]])).logits[0]
        shares = torch.log_softmax(logits.double(), -1)
        return sum(float(shares[place, token]) for place, token in enumerate(continuation, len(prompt) - 1))

    engine = load_engine(ModelOptions(merged, threads=1))
    assert engine.formats.question is not None
    asker = Asker(engine.formats, engine.formats.question, engine.tokenizer)
    for question in tiny.questions(QUESTIONS, seed=5):
        (request,) = asker.requests(question, shared=True)
        (scores,) = engine.score([request])
        prompt = list(request.prompt)
        wanted = request.by_label([log_probability(prompt, ids) for ids in request.continuations])
        assert scores == pytest.approx(wanted, abs=NEAR)
        assert weigh(question, [scores]).place == weigh(question, [wanted]).place
    engine.close()
