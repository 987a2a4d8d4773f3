"""The road of named entities: texts with their entities in, an adapter, a GGUF, replies, and F1 on texts held out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.road.commands import ENVIRONMENT, command, done

MAKE = Path(__file__).resolve().parents[2] / "examples" / "entities" / "make.py"
LEARNT, UNTAUGHT = 0.60, 0.10

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("entities")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up texts, and a base that can find names but does not know the question."""
    out = tmp_path_factory.mktemp("entities") / "out"
    made = subprocess.run([sys.executable, MAKE, out], env=ENVIRONMENT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return out


def train(sheet: Path, base: Path, out: Path, **changes: object) -> Path:
    """prepare and fit; returns the adapter. What does not fit the preset's length is left out by prepare, and listed."""
    fitting = ("--model", base, "--max-length", 512)
    done("trainer", "prepare", sheet, "--output", out / "data", "--validation", 0.05, *fitting)
    settings = {
        "lora.dropout": 0, "training.batch_size": 16, "training.accumulation": 1,
        "training.learning_rate": 3e-3, "training.warmup": 20, "training.gradient_checkpointing": "false",
        "evaluation.rows": 60,
    } | {key.replace("__", "."): value for key, value in changes.items()}  # fmt: skip
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    adapter = out / "adapter"
    fit = (
        "fit",
        "--model",
        base,
        "--data",
        out / "data",
        "--output",
        adapter,
        "--preset",
        "ner",
        "--deepspeed",
        "none",
    )
    done("trainer", *fit, *words)
    return adapter


def merged(base: Path, output: Path, *more: object) -> Path:
    done("exporter", "merge", "--base", base, "--format", "gguf", "--output", output, *more)
    return output


def graded(sheet: Path, model: Path, replies: Path, *more: object) -> dict[str, Any]:
    """generate and evaluate: the result."""
    greedy = ("--temperature", 0, "--repeat-penalty", 1, "--max-tokens", 80, "--threads", 1)
    done("runtime", "generate", sheet, "--model", model, "--output", replies, *greedy, *more)
    result: dict[str, Any] = json.loads(done("runtime", "evaluate", replies, "--sheet", sheet, "--json"))
    return result


@pytest.fixture(scope="module")
def adapter(world: Path) -> Path:
    return train(world / "training.jsonl", world / "base", world, training__steps=300, evaluation__every=100)


def test_the_adapter_names_the_entities_of_held_out_texts_and_q4_0_keeps_it(world: Path, adapter: Path) -> None:
    sheet = world / "held-out.jsonl"
    for kind in ("f16", "q4_0"):
        model = merged(world / "base", world / f"{kind}.gguf", "--adapter", adapter, "--type", kind)
        result = graded(sheet, model, world / f"{kind}.jsonl")
        assert (result["task"], result["records"], result["missing"]) == ("entities", 200, [])
        assert result["f1"] >= LEARNT
        assert min(of_kind["f1"] for of_kind in result["types"].values()) >= LEARNT


def test_without_the_adapter_the_base_does_not_know_the_question(world: Path) -> None:
    model = merged(world / "base", world / "base.gguf", "--type", "f16")
    result = graded(world / "held-out.jsonl", model, world / "base.jsonl", "--prompt-format", "alpaca2")
    assert result["f1"] <= UNTAUGHT


def test_no_held_out_text_is_learnt_from(world: Path) -> None:
    held_out, training = (
        {json.loads(line)["text"] for line in (world / f"{name}.jsonl").open(encoding="utf-8")}
        for name in ("held-out", "training")
    )
    assert (len(held_out), len(training)) == (200, 4000)
    assert not held_out & training


@pytest.mark.shared
@pytest.mark.parametrize("name", ["msra_1000.txt", "dev.txt"])
def test_msra_goes_the_same_road(name: str, tiny_base: Path, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "msra" / name
    adapter = train(source, tiny_base, tmp_path, training__steps=4, training__batch_size=2, evaluation__rows=4)
    meta = json.loads((tmp_path / "data" / "dataset.json").read_text(encoding="utf-8"))
    assert meta["format"] == {"msra_1000.txt": "entities", "dev.txt": "instruction"}[name]
    assert meta["train"] + meta["validation"] + meta["rejected"] == meta["rows"] >= 999
    assert meta["rejected"] < 20
    model = merged(tiny_base, tmp_path / "m.gguf", "--adapter", adapter, "--type", "q4_0")
    sheet = tmp_path / f"twenty{source.suffix}"
    sheet.write_text("\n".join(source.read_text(encoding="utf-8").splitlines()[:20]) + "\n", encoding="utf-8")
    result = graded(sheet, model, tmp_path / "replies.jsonl", "--max-tokens", 16)
    assert (result["task"], result["records"]) == ("entities", 20)
    assert command("exporter", "verify", model, "--base", tiny_base, "--adapter", adapter).returncode == 0
