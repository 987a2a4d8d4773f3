"""The road to a language that the base hardly knows: more pieces, two stages of training, merge, GGUF, one tokenization."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from safetensors import safe_open
from safetensors.torch import load_file

from tests import tiny
from tests.road.commands import done
from tests.trainer.vocab.conftest import sentences
from trainer.tokenizer import SentencePieceTokenizer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.xdist_group("larger-vocabulary")]

STAGES = {"base3": "tibetan-stage1", "adapter": "tibetan-stage2"}


def walk(corpus: Path, base: Path, out: Path, *more: object) -> Path:
    """The six commands on a tiny model; the presets' sizes, rates and lengths are cut down to it."""
    done("trainer", "vocab", corpus, "--model", base, "--output", out / "base2", "--split-on", "་", *more)
    done("trainer", "prepare", corpus, "--output", out / "data", "--format", "text", "--validation", 0.2)
    values = ("training.max_length=128", "training.batch_size=2", "training.accumulation=1", "training.steps=24")
    short = [word for value in values for word in ("--set", value)]
    before = out / "base2"
    for name, preset in STAGES.items():
        rate = "training.learning_rate=" + ("5e-3" if name == "base3" else "1e-3")
        done(
            "trainer", "fit", "--model", before, "--data", out / "data", "--output", out / name, "--preset", preset,
            "--deepspeed", "none", *short, "--set", rate,
        )  # fmt: skip
        before = out / name
    for kind in ("f16", "q4_0"):
        merge = ("merge", "--base", out / "base3", "--adapter", out / "adapter", "--format", "gguf", "--type", kind)
        done("exporter", *merge, "--output", out / f"{kind}.gguf")
    return out


@pytest.fixture(scope="module")
def made_up(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The road on made-up sentences and the tiny vocabulary."""
    out = tmp_path_factory.mktemp("larger")
    (out / "corpus.txt").write_text("".join(f"{sentence}\n" for sentence in sentences(200)), encoding="utf-8")
    return walk(out / "corpus.txt", tiny_base, out, "--size", 300)


@pytest.fixture(scope="module")
def tibetan(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The road on the Tibetan texts and the vocabulary of 55,296 pieces."""
    out = tmp_path_factory.mktemp("tibetan")
    base = tiny.base(out / "base", vocab_model=shared_data / "tokenizer" / "llama2-zh-55296.model")
    return walk(shared_data / "tibetan" / "data.txt", base, out)


@pytest.fixture(params=["made_up", pytest.param("tibetan", marks=pytest.mark.shared)])
def road(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def record(folder: Path, name: str = "training.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def test_texts_that_were_not_learnt_from_become_much_shorter(road: Path) -> None:
    report = record(road / "base2", "vocabulary.json")
    assert report["held_out"]["characters"] > 500
    assert report["shorter"] > 0.6
    assert report["held_out"]["byte_tokens_after"] == 0


def test_stage_one_trains_the_two_matrices_and_nothing_else(road: Path) -> None:
    before, after = (load_file(road / name / "model.safetensors") for name in ("base2", "base3"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {"model.embed_tokens.weight", "lm_head.weight"}
    rows, width = before["lm_head.weight"].shape
    assert record(road / "base3")["result"]["trainable_parameters"] == 2 * rows * width


def test_stage_two_is_lora_plus_and_carries_no_matrix(road: Path) -> None:
    with safe_open(road / "adapter" / "adapter_model.safetensors", "pt") as file:
        names = set(file.keys())
    assert len(names) == 2 * 7 * 2
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert record(road / "adapter")["settings"]["lora"]["plus_ratio"] == 16


def test_each_stage_expects_the_validation_texts_better(road: Path) -> None:
    first, second = (record(road / name)["result"] for name in STAGES)
    rows = record(road / "base2", "vocabulary.json")["rows"]["after"]
    assert second["perplexity"] < first["perplexity"] < rows
    assert 0 < second["token_accuracy"] <= 1
    with (road / "base3" / "metrics.jsonl").open(encoding="utf-8") as file:
        told = [line["perplexity"] for line in map(json.loads, file) if "perplexity" in line]
    assert told[-1] < told[0]


@pytest.mark.parametrize("kind", ["f16", "q4_0"])
def test_trainer_sentencepiece_and_llama_cpp_cut_every_text_alike(road: Path, kind: str) -> None:
    from runtime.engine import ModelOptions, load_engine

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(road / "base2" / "tokenizer.model"))
    trainer = SentencePieceTokenizer.from_folder(road / "base3")
    held_out = [json.loads(line)["text"] for line in (road / "data" / "validation.jsonl").open(encoding="utf-8")]
    texts = [*held_out, *sentences(100, seed=5), *(question.passage for question in tiny.questions(50))]
    texts += [
        pieces.id_to_piece(id_).replace("▁", " ") for id_ in range(pieces.vocab_size() - 200, pieces.vocab_size())
    ]
    engine = load_engine(ModelOptions(road / f"{kind}.gguf", threads=1))
    try:
        expected = [pieces.encode(text) for text in texts]
        assert [trainer.plain(text) for text in texts] == expected
        assert [list(engine.tokenizer.plain(text)) for text in texts] == expected
    finally:
        engine.close()


def test_autotokenizer_opens_every_folder_and_cuts_alike(road: Path) -> None:
    from transformers import AutoTokenizer

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(road / "base2" / "tokenizer.model"))
    held_out = [json.loads(line)["text"] for line in (road / "data" / "validation.jsonl").open(encoding="utf-8")]
    texts = [*held_out, *sentences(100, seed=5), " ས་ "]
    for name in ("base2", "base3", "adapter"):
        tokenizer = AutoTokenizer.from_pretrained(road / name)
        assert [tokenizer.encode(text, add_special_tokens=False) for text in texts] == pieces.encode(texts), name


@pytest.mark.parametrize("kind", ["f16", "q4_0"])
def test_the_export_verifies(road: Path, kind: str) -> None:
    told = done("exporter", "verify", road / f"{kind}.gguf", "--base", road / "base3", "--adapter", road / "adapter")
    assert "nothing differs" in told
    assert "tokenizer: ok" in told
