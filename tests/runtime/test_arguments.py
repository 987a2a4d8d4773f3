"""Flags become options; nothing heavy is imported for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.arguments import model_options, sampling
from runtime.cli import build_parser
from runtime.interface import ModelOptions, Sampling


def test_defaults_are_those_of_the_options() -> None:
    args = build_parser().parse_args(["chat", "--model", "m.gguf"])
    assert model_options(args) == ModelOptions(Path("m.gguf"))
    assert sampling(args) == Sampling()


def test_every_flag_arrives() -> None:
    words = (
        "--model m.gguf --adapter a.gguf --adapter b.gguf=0.5 --prompt-format vicuna --question-format lab4 --threads 3 "
        "--gpu-layers 7 --ctx-size 512 --temperature 0 --top-p 0.5 --top-k 0 --repeat-penalty 1 --max-tokens 9 --seed 4 "
        "--stop x --stop y"
    )
    args = build_parser().parse_args(["chat", *words.split()])
    assert model_options(args) == ModelOptions(
        Path("m.gguf"), ((Path("a.gguf"), 1.0), (Path("b.gguf"), 0.5)), "vicuna", "lab4", 3, 7, 512
    )
    assert sampling(args) == Sampling(0.0, 0.5, 0, 1.0, 9, 4, ("x", "y"))


def test_an_adapter_whose_name_has_an_equals_sign_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a=1.gguf"
    path.touch()
    args = build_parser().parse_args(["chat", "--model", "m.gguf", "--adapter", str(path)])
    assert model_options(args).adapters == ((path, 1.0),)


@pytest.mark.parametrize(
    "words", ["--temperature -1", "--top-p 2", "--max-tokens 0", "--threads x", "--gpu-layers many"]
)
def test_impossible_values_are_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["chat", "--model", "m.gguf", *words.split()])
    assert words.split()[0] in capsys.readouterr().err


def test_the_parser_imports_nothing_heavy() -> None:
    script = (
        "import sys; from runtime.cli import build_parser; build_parser()\n"
        "print([m for m in ('llama_cpp', 'numpy', 'pydantic', 'jinja2', 'openpyxl', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_default_to_cores_this_process_may_use() -> None:
    from runtime.llama_library import physical_cores

    assert 1 <= physical_cores() <= (os.cpu_count() or 1)


def test_waiting_threads_sleep_unless_the_user_says_otherwise() -> None:
    script = "import os, runtime.llama_library; print(os.environ['OMP_WAIT_POLICY'])"
    for given, policy in (({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
        done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == policy
