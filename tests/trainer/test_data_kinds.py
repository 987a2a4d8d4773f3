"""Every kind of data, from the tiny files of `examples/data`: prepared, previewed and trained on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests import tiny
from tests.trainer.conftest import records, run_fit

EXAMPLES = Path(__file__).parents[2] / "examples" / "data"
COLUMNS = {"columns.csv": "instruction=任務,input=內容,ignore=備註"}
KINDS = {
    "exam.csv": "exam",
    "instruction.jsonl": "instruction",
    "columns.csv": "instruction",
    "chat.jsonl": "chat",
    "sharegpt.json": "chat",
    "turns.jsonl": "chat",
    "entities.jsonl": "entities",
    "text.txt": "text",
}


def prepare(name: str, output: Path, *more: object) -> dict[str, object]:
    given = ("--columns", COLUMNS[name]) if name in COLUMNS else ()
    code, out, err = tiny.run_cli(
        "trainer.cli", "prepare", EXAMPLES / name, "--output", output, "--validation", 0.3, "--json", *given, *more
    )
    assert code == 0, err
    assert f"{name}: format {KINDS[name]}, columns " in err
    meta: dict[str, object] = json.loads(out)
    return meta


def test_every_example_has_its_kind_and_its_section_in_the_docs() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == set(KINDS)
    page = (EXAMPLES.parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    for name in KINDS:
        assert f"examples/data/{name}" in page
        lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
        assert any(line in page for line in lines if len(line) > 10), f"docs/data.md shows no line of {name}"


@pytest.mark.parametrize("name", KINDS)
def test_every_example_is_prepared_and_shown(name: str, tiny_base: Path, tmp_path: Path) -> None:
    meta = prepare(name, tmp_path / "data", "--model", tiny_base)
    assert meta["format"] == KINDS[name]
    assert meta["rejected"] == 0
    assert meta["validation"]
    code, out, err = tiny.run_cli("trainer.cli", "preview", tmp_path / "data", "--model", tiny_base, "-n", 1)
    assert code == 0, err
    assert out.count("── row ") == 1
    assert re.search(r"^trained  \S", out, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_example_is_trained_on(name: str, tiny_base: Path, tmp_path: Path) -> None:
    prepare(name, tmp_path / "data")
    output = tmp_path / "adapter"
    code, out, err = run_fit(tiny_base, tmp_path / "data", output, "--deepspeed", "none", training__max_length=300)
    assert code == 0, err
    steps = records(output)
    assert all(line["loss"] > 0 for line in steps if "loss" in line)
    measured = {"eval_accuracy"} if KINDS[name] == "exam" else {"token_loss", "perplexity", "token_accuracy"}
    assert any(measured <= line.keys() for line in steps)
    result = json.loads((output / "training.json").read_text(encoding="utf-8"))["result"]
    assert (result["accuracy"] is None) == (KINDS[name] != "exam")
    for told in ("perplexity", "token accuracy"):
        assert (told in out) == (told in err) == (KINDS[name] != "exam")
