"""Files of strangers: refused in a sentence, tried in a child, and the command never dies of one."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from configs.errors import ConfigError, MachineError, ToolError
from configs.formats import Formats
from runtime import llama_trial
from runtime.engine import load_engine
from runtime.interface import ModelOptions
from runtime.models import plan_model
from tests.runtime import make_gguf

SENTENCE = re.compile(r"runtime: error: [^\n]{20,800}\n")


def run_mutations(models: Path, folder: Path, first: int, count: int) -> list[dict]:
    words = [models / "model.gguf", models / "adapter.gguf", first, count, folder]
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.mutations", *map(str, words)],
        capture_output=True, text=True, timeout=1800, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, f"mutation {lines[-1]} ended the process: {done.returncode} {done.stderr[-2000:]}"
    return [line for line in lines if "code" in line]


def check(results: list[dict], count: int) -> None:
    assert len(results) == count
    for result in results:
        if result["code"]:
            assert result["code"] in (1, 2), result
            last = result["err"].splitlines(keepends=True)[-1]
            assert SENTENCE.fullmatch(last), result
            assert "Traceback" not in result["err"], result
            assert "error: unexpected " not in last, result
    refused = sum(1 for result in results if result["code"])
    assert 0 < refused < count, f"{refused} of {count} were refused: the mutations are too coarse or too fine"


def test_some_damaged_files_end_in_a_sentence(models: Path, tmp_path: Path) -> None:
    check(run_mutations(models, tmp_path, 0, 25), 25)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 3000, 250))
def test_2000_damaged_files_end_in_a_sentence(models: Path, tmp_path: Path, first: int) -> None:
    check(run_mutations(models, tmp_path, first, 250), 250)


def refusal(path: Path) -> str:
    with pytest.raises(ToolError) as error:
        plan_model(ModelOptions(path))
    return str(error.value)


def test_an_architecture_that_is_not_known_is_refused_by_name(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    data = (models / "model.gguf").read_bytes()
    at = data.index(b"general.architecture") + len(b"general.architecture") + 4 + 8
    path.write_bytes(data[:at] + b"mamba" + data[at + 5 :])
    assert "architecture 'mamba'" in refusal(path)


def edited(models: Path, path: Path, change: Callable[[gguf.GGUFWriter], object]) -> Path:
    """The model with something added to its metadata before the file is closed."""
    return make_gguf.model(path, models / "tokenizer.model", formats=Formats.load("alpaca2", "formosa"), change=change)


def test_a_template_as_long_as_a_book_is_refused(models: Path, tmp_path: Path) -> None:
    book = "x" * (1 << 19)
    path = edited(models, tmp_path / "m.gguf", lambda writer: writer.add_chat_template(book))
    assert "tokenizer.chat_template" in refusal(path)


def test_arrays_of_arrays_are_refused(models: Path, tmp_path: Path) -> None:
    path = edited(models, tmp_path / "m.gguf", lambda writer: writer.add_array("deep", [[[1], [2]], [[3]]]))
    assert "an array of type 9" in refusal(path)


def test_one_part_of_several_is_refused_with_the_remedy(models: Path, tmp_path: Path) -> None:
    path = edited(models, tmp_path / "m.gguf", lambda writer: writer.add_uint16("split.count", 3))
    assert "llama-gguf-split --merge" in refusal(path)


def entry(data: bytes, name: bytes) -> int:
    """Where the number of dimensions of a two-dimensional tensor stands in the file's list."""
    return data.index(len(name).to_bytes(8, "little") + name) + 8 + len(name)


@pytest.mark.parametrize(
    ("at", "width", "value", "sentence"),
    [
        (0, 4, 5, "has 5 dimensions"),
        (4, 8, 2**61, "has the shape"),
        (4, 8, 0, "has the shape"),
        (20, 4, 4, "is of type 4"),
        (20, 4, 36, "is of type 36"),
        (24, 8, 33, "out of line"),
        (24, 8, 0, "lies over another"),
        (24, 8, 2**40, "is truncated"),
    ],
)
def test_a_tensor_list_that_cannot_be_is_refused(
    models: Path, tmp_path: Path, at: int, width: int, value: int, sentence: str
) -> None:
    data = bytearray((models / "model.gguf").read_bytes())
    begin = entry(bytes(data), b"blk.1.ffn_up.weight") + at
    data[begin : begin + width] = value.to_bytes(width, "little")
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    assert sentence in refusal(path)


def test_a_tensor_listed_twice_is_refused(models: Path, tmp_path: Path) -> None:
    data = (models / "model.gguf").read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.0.ffn_up.weight")
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    assert "listed twice" in refusal(path)


def test_what_llama_cpp_refuses_is_said_by_the_child(models: Path, tmp_path: Path) -> None:
    data = (models / "model.gguf").read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_ap.weight")
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(ToolError, match="ffn_up"):
        llama_trial.try_model(plan_model(ModelOptions(path)))


def test_what_only_computing_shows_ends_the_child_and_not_the_command(models: Path, tmp_path: Path) -> None:
    data = bytearray((models / "model.gguf").read_bytes())
    key = b"llama.attention.layer_norm_rms_epsilon"
    at = data.index(key) + len(key) + 4
    data[at : at + 4] = struct.pack("<f", float("nan"))
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(ToolError, match="crashed on"):
        llama_trial.try_model(plan_model(ModelOptions(path)))


def test_a_file_larger_than_the_memory_is_tried_without_its_weights(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_trial, "_free_bytes", lambda: 1000)
    plan = plan_model(ModelOptions(models / "model.gguf", adapters=((models / "adapter.gguf", 1.0),)))
    asked = []
    ask = llama_trial._ask
    monkeypatch.setattr(llama_trial, "_ask", lambda words, *rest: asked.append(words[0]) or ask(words, *rest))
    llama_trial.try_model(plan)
    assert asked == ["shapes"]


@pytest.mark.parametrize(
    ("what", "error", "sentence"),
    [
        ("dies", ToolError, "llama.cpp crashed on .*SIGSEGV"),
        ("hangs", ToolError, "does not come to an end"),
        ("talks", MachineError, "ended with code 1: no such library"),
    ],
)
def test_a_child_that_dies_takes_nobody_with_it(
    models: Path, monkeypatch: pytest.MonkeyPatch, what: str, error: type[ToolError], sentence: str
) -> None:
    monkeypatch.setattr(llama_trial, "_MODULE", "tests.runtime.bad_child")
    monkeypatch.setattr(llama_trial, "_SECONDS", 1)
    monkeypatch.setenv("BAD_CHILD", what)
    with pytest.raises(error, match=sentence):
        llama_trial.try_model(plan_model(ModelOptions(models / "model.gguf")))


def test_a_load_can_be_given_up_while_the_child_works(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_trial, "_MODULE", "tests.runtime.bad_child")
    monkeypatch.setenv("BAD_CHILD", "hangs")
    shares = []
    with pytest.raises(ToolError, match="given up"):
        load_engine(ModelOptions(models / "model.gguf"), on_progress=lambda share: shares.append(share) or False)
    assert shares == [0.0]


def test_a_grammar_that_overflows_the_stack_ends_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="the grammar"):
        llama_trial.try_grammar("root ::= " + "(" * 100_000 + '"a"' + ")" * 100_000)
    with pytest.raises(ConfigError, match="expecting"):
        llama_trial.try_grammar("root ::= (")
    llama_trial.try_grammar('root ::= "a"')
