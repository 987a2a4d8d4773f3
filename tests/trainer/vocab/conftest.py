"""A corpus in a script that the tiny vocabulary has never seen, and a base extended by it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests import tiny

_STARTS = ("ག", "བྱ", "ས", "ད", "མཁ", "རྒྱ", "པ", "འབྲ", "ཆ", "ལྷ")
_VOWELS = ("", "ི", "ུ", "ེ", "ོ")
_ENDS = ("", "ན", "ས", "ང", "གས", "འི")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Sentences of Tibetan-like syllables, the first ones of a list of 120 far more often than the last."""
    draw = random.Random(seed)
    syllables = [start + vowel + end + "་" for start in _STARTS for vowel in _VOWELS for end in _ENDS]
    draw.shuffle(syllables)
    weights = [1 / (place + 1) for place in range(120)]
    return ["".join(draw.choices(syllables[:120], weights, k=draw.randint(4, 30))) + "།" for _ in range(count)]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A txt file of 300 sentences, three to a line."""
    said = sentences(300)
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("".join("".join(said[at : at + 3]) + "\n" for at in range(0, 300, 3)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def grown(tiny_base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_base` with 200 more pieces at most."""
    output = tmp_path_factory.mktemp("grown") / "base2"
    extend(corpus, tiny_base, output, "--size", 200)
    return output


def extend(corpus: Path, base: Path, output: Path, *more: object) -> dict[str, Any]:
    """The report of a `trainer vocab` that must succeed."""
    code, out, err = run_vocab(corpus, base, output, "--json", *more)
    assert code == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


def run_vocab(corpus: Path, base: Path, output: Path, *more: object) -> tuple[int, str, str]:
    """Run `trainer vocab` in this process: (exit code, stdout, stderr)."""
    return tiny.run_cli("trainer.cli", "vocab", corpus, "--model", base, "--output", output, *more)
