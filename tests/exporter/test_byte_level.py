"""Byte-level BPE vocabularies: llama.cpp cuts and joins text as the tokenizers library does."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from exporter.tokens import CONTROL, NORMAL, UNUSED, USER_DEFINED
from tests import tiny
from tests.exporter import byte_level
from tests.exporter.conftest import merge
from tests.exporter.oracles import LlamaCpp, gguf_keys
from tests.tiny import run_cli

LETTERS = "aAzZ éÉßñ'’`.,;:!?-_()[]{}<>@#$%^&*+=/\\|~\"\n\r\t  　 0123456789½²٣欣怡今天說到秋天，。「」🚀👩‍🔬កнеБ་བོད"
WORDS = ["I'm", "THEY'LL", " don't", "'s", "12345", "3.14", "\n\n", "   ", " \n ", "\t\tx", "hello world", "秋天春天"]


def texts(count: int = 400) -> list[str]:
    draw = random.Random(7)
    made = [
        "".join(draw.choice([draw.choice(LETTERS), draw.choice(WORDS)]) for _ in range(draw.randint(1, 14)))
        for _ in range(count)
    ]
    return [*made, *(question.passage + question.question for question in tiny.questions(20))]


def byte_level_base(folder: Path, kind: str) -> Path:
    """A Llama whose vocabulary is a byte-level one of that kind; three rows are left over."""
    return byte_level.model(folder, "llama", kind=kind, layers=1, spare_rows=3)


@pytest.mark.parametrize("kind", ["llama-bpe", "smaug-bpe", "qwen2", "gpt-2", "smollm"])
def test_llama_cpp_tokenizes_as_tokenizers(kind: str, tmp_path: Path) -> None:
    import tokenizers

    base = byte_level_base(tmp_path / "base", kind)
    path = merge(base, tmp_path / "m.gguf")
    keys = gguf_keys(path)
    assert keys["tokenizer.ggml.model"] == "gpt2"
    assert keys["tokenizer.ggml.pre"] == kind
    reference = tokenizers.Tokenizer.from_file(str(base / "tokenizer.json"))
    engine = LlamaCpp(path)
    wrong = [text for text in texts() if engine.tokenize(text) != reference.encode(text, add_special_tokens=False).ids]
    engine.close()
    assert wrong == []


def test_table_of_a_byte_level_vocabulary(tmp_path: Path) -> None:
    base = byte_level_base(tmp_path / "base", "llama-bpe")
    table = json.loads((base / "tokenizer.json").read_text())
    size = len(table["model"]["vocab"]) + len(table["added_tokens"])
    table["added_tokens"].append(
        {"id": size, "content": "\u2581two words", "special": False, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    )  # fmt: skip
    (base / "tokenizer.json").write_text(json.dumps(table))
    keys = gguf_keys(merge(base, tmp_path / "m.gguf"))
    kinds = keys["tokenizer.ggml.token_type"]
    assert kinds[0] == NORMAL
    assert kinds[size - 1 :] == [CONTROL, USER_DEFINED, UNUSED, UNUSED]
    assert keys["tokenizer.ggml.tokens"][size - 1 :] == [
        "<|eot_id|>",
        " two words",
        f"[PAD{size + 1}]",
        f"[PAD{size + 2}]",
    ]
    assert keys["tokenizer.ggml.eos_token_id"] == size - 1
    assert keys["tokenizer.ggml.bos_token_id"] == size - 5
    assert keys["tokenizer.ggml.add_bos_token"] is True
    assert keys["tokenizer.ggml.add_eos_token"] is False
    assert len(keys["tokenizer.ggml.merges"]) == len(table["model"]["merges"])
    assert "tokenizer.ggml.scores" not in keys


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex="[a-z]+"), "not known to imitate"),
        (lambda t: t["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"), "not known to imitate"),
        (lambda t: t["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True), "not known to imitate"),
        (lambda t: t.update(pre_tokenizer=None), "not known to imitate"),
        (lambda t: t.update(normalizer={"type": "Lowercase"}), "normalizes text with Lowercase"),
        (lambda t: t["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (lambda t: t["model"].update(type="WordPiece"), "holds a WordPiece model"),
        (lambda t: t["model"].pop("vocab"), "holds no vocabulary"),
        (lambda t: t["added_tokens"][0].update(id=99_999), "has id 99999"),
    ],
)  # fmt: skip
def test_what_llama_cpp_cannot_imitate_is_refused(change, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    base = byte_level_base(tmp_path / "base", "llama-bpe")
    table = json.loads((base / "tokenizer.json").read_text())
    change(table)
    (base / "tokenizer.json").write_text(json.dumps(table))
    code, _, err = run_cli(
        "exporter.cli", "merge", "--base", base, "--format", "gguf", "--output", tmp_path / "out" / "m.gguf"
    )
    assert code == 1
    assert words in err
    assert not (tmp_path / "out").exists()


def test_metas_list_of_byte_pairs_is_named(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "base" / name).symlink_to(tiny_base / name)
    (tmp_path / "base" / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    code, _, err = run_cli(
        "exporter.cli", "merge", "--base", tmp_path / "base", "--format", "gguf", "--output", tmp_path / "m.gguf"
    )
    assert code == 1
    assert "put the tokenizer.json of the same model" in err
