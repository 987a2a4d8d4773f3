"""Loss on validation rows that are no exam questions, against transformers' own loss."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from configs.exam import Question
from configs.formats import Formats
from tests.trainer.test_conversations import SAID, dialogue
from trainer.datasets.folder import Row
from trainer.examples import encode_rows
from trainer.tokenizer import SentencePieceTokenizer


@pytest.mark.slow
def test_the_loss_is_the_mean_over_all_trained_tokens(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from trainer.perplexity import rows_to_score, score_tokens
    from trainer.target_loss import TargetLoss

    tokenizer = SentencePieceTokenizer.from_folder(tiny_base)
    rows = [Row("a", dialogue(*SAID)), Row("b", dialogue(*SAID[:2])), Row("c", (), text="春天" * 30)]
    examples = rows_to_score(encode_rows(rows, Formats.load("alpaca2"), tokenizer, 400), 0, 0)
    model = AutoModelForCausalLM.from_pretrained(tiny_base).train()
    target_loss = TargetLoss(model, chunk_numbers=7 * 640)
    scores = [
        score_tokens(model, examples, target_loss, batch_size=size, padding_id=0, device=torch.device("cpu"))
        for size in (1, 8)
    ]
    assert model.training
    summed = tokens = right = 0.0
    for example in examples:
        ids, labels = torch.tensor([list(example.ids)]), torch.tensor([example.labels])
        given = model(input_ids=ids, labels=labels)
        summed += given.loss.item() * example.trained_tokens
        right += float((given.logits.argmax(-1)[:, :-1] == labels[:, 1:]).sum())
        tokens += example.trained_tokens
    for score in scores:
        assert score.tokens == tokens
        assert score.loss == pytest.approx(summed / tokens, abs=1e-5)
        assert score.perplexity == pytest.approx(math.exp(summed / tokens), rel=1e-4)
        assert score.accuracy == right / tokens


def test_the_rows_scored_are_a_seeded_choice_without_exam_questions() -> None:
    from trainer.examples import Example
    from trainer.perplexity import rows_to_score

    examples = [Example(str(length), range(length), ((1, length),)) for length in (9, 3, 7, 5)]
    examples.append(Example("exam", range(4), ((1, 4),), Question("文", "問", ("甲", "乙"), 1)))
    assert [example.id for example in rows_to_score(examples, 0, 0)] == ["3", "5", "7", "9"]
    assert len(rows_to_score(examples, 2, 0)) == 2
    assert rows_to_score(examples, 2, 0) == rows_to_score(examples, 2, 0)
