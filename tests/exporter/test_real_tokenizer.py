"""The real vocabulary of 55,296 pieces on real text: llama.cpp's ids are SentencePiece's."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.formats import Formats
from configs.sheets import read_questions
from tests import tiny
from tests.exporter.conftest import merge
from tests.exporter.oracles import LlamaCpp


@pytest.mark.shared
@pytest.mark.slow
def test_real_sheet_tokenizes_identically(shared_data: Path, tmp_path: Path) -> None:
    from sentencepiece import SentencePieceProcessor

    model = shared_data / "tokenizer" / "llama2-zh-55296.model"
    base = tiny.base(tmp_path / "base", hidden=32, heads=2, kv_heads=2, layers=1, vocab_model=model)
    engine = LlamaCpp(merge(base, tmp_path / "m.gguf"))
    pieces = SentencePieceProcessor(model_file=str(model))
    formats = Formats.load("alpaca2", "formosa")
    assert formats.question is not None
    questions = [
        row.question for row in read_questions(shared_data / "formosa" / "AI1000.xlsx", need_answers=False).rows
    ]
    assert len(questions) == 1000
    texts = [formats.question.text(question) for question in questions if question]
    wrong = [text for text in texts if engine.tokenize(text) != pieces.encode(text)]
    engine.close()
    assert wrong == []
