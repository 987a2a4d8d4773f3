"""Words of the command line become nouns, or one sentence."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from configs.errors import ConfigError
from runtime.arguments import adapter, gpu_layers, real, whole
from tests.tiny import run_cli
from tui.cli import build_parser
from tui.settings import chat_settings, check_text


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A file that begins like a GGUF."""
    path = tmp_path / "模型.gguf"
    path.write_bytes(b"GGUF" + bytes(20))
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l.gguf", ("l.gguf", 1.0)),
        ("l.gguf=0.5", ("l.gguf", 0.5)),
        ("l.gguf=-1", ("l.gguf", -1.0)),
        ("a=b/l.gguf", ("a=b/l.gguf", 1.0)),
        ("a=b/l.gguf=2", ("a=b/l.gguf", 2.0)),
    ],
)
def test_an_adapter_may_carry_a_weight(text: str, expected: tuple[str, float]) -> None:
    assert adapter(text) == (Path(expected[0]), expected[1])


def test_numbers_out_of_range_are_refused() -> None:
    for read, text in ((whole(1), "0"), (whole(1), "x"), (real(0), "-1"), (real(0, 1), "1.5"), (real(0), "nan")):
        with pytest.raises(argparse.ArgumentTypeError):
            read(text)
    assert gpu_layers("auto") == "auto"
    assert gpu_layers("3") == 3


def test_every_flag_reaches_the_settings(gguf: Path) -> None:
    line = (
        f"chat --model {gguf} --adapter {gguf}=0.5 --prompt-format vicuna --question-format lab4 --threads 2 "
        "--gpu-layers 7 --ctx-size 512 --temperature 0 --top-p 0.5 --top-k 3 --repeat-penalty 1 --max-tokens 9 "
        "--seed 5 --stop A --stop B --system S"
    )
    settings = chat_settings(build_parser().parse_args(line.split()))
    options, sampling = settings.options, settings.sampling
    assert options.adapters == ((gguf, 0.5),)
    assert (options.prompt_format, options.question_format) == ("vicuna", "lab4")
    assert (options.threads, options.gpu_layers, options.ctx_size) == (2, 7, 512)
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.repeat_penalty) == (0, 0.5, 3, 1)
    assert (sampling.max_tokens, sampling.seed, sampling.stop) == (9, 5, ("A", "B"))
    assert settings.system == "S"
    assert settings.model_label == "模型"


def test_defaults_are_those_of_every_command(gguf: Path) -> None:
    from runtime.engine import ModelOptions, Sampling

    settings = chat_settings(build_parser().parse_args(["chat", "--model", str(gguf)]))
    assert settings.sampling == Sampling()
    assert settings.options == ModelOptions(model=gguf)
    assert settings.system is None


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty"])
def test_a_model_that_is_none_is_refused_before_the_screen_opens(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("hello" if kind == "text" else "")
    code, out, err = run_cli("tui.cli", "chat", "--model", path)
    assert code == 2
    assert out == ""
    assert str(path) in err
    assert len(err.splitlines()) == 1


def test_an_adapter_that_is_none_is_refused_too(gguf: Path, tmp_path: Path) -> None:
    code, _, err = run_cli("tui.cli", "chat", "--model", gguf, "--adapter", tmp_path / "none.gguf")
    assert code == 2
    assert "none.gguf does not exist" in err


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ConfigError, match="--system"):
        check_text("--system", "\udcb1")


def test_help_names_what_there_is_and_nothing_else() -> None:
    code, out, _ = run_cli("tui.cli", "chat", "--help")
    assert code == 0
    for flag in (
        "--model",
        "--adapter",
        "--system",
        "--no-tui",
        "--debug",
        "--seed",
        "--resume",
        "--lang",
        "--data-dir",
    ):
        assert flag in out
    assert "--web" in out
    code, out, _ = run_cli("tui.cli", "--help")
    assert code == 0
    assert "predict" in out
    assert "compare" in out


def test_no_command_is_a_wrong_command() -> None:
    assert run_cli("tui.cli")[0] == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("compare", "two models, not no model"),
        ("compare --model {0}", "two models, not one model"),
        ("compare --model {0} --model {1} --model {0}", "two models, not 3 models"),
        ("compare --model {0} --model {0}", "both models are"),
        ("compare --model {0} --adapter {1} --model {0} --adapter {1}", "both models are"),
        ("compare --model {0} --model {2}", "not a GGUF"),
        ("compare --model {0} --model {0}x", "does not exist"),
        ("compare --model {0} --model {1} {0}x.xlsx", "there is no sheet"),
        ("compare --model {0} --model {1} {3}", "is a folder"),
        ("compare --model {0} --model {1} {2} -p x", "--prompt is for texts"),
        ("compare --adapter {1} --model {0} --model {1}", "belongs to the --model before it"),
    ],
)
def test_a_comparison_that_cannot_be_is_one_sentence(tmp_path: Path, gguf: Path, line: str, says: str) -> None:
    other, text = tmp_path / "other.gguf", tmp_path / "text.txt"
    other.write_bytes(b"GGUF" + bytes(20))
    text.write_text("no model")
    code, _, said = run_cli("tui.cli", *line.format(gguf, other, text, tmp_path).split(), "--no-tui")
    assert code == 2
    assert says in said
    assert "Traceback" not in said


def test_adapters_of_a_comparison_go_to_the_model_before_them(tmp_path: Path, gguf: Path) -> None:
    from tui.compare.settings import compare_settings

    line = f"compare --model {gguf} --model {gguf} --adapter {gguf}=0.5 --adapter {gguf} --threads 3 --seed 4 -p 問"
    settings = compare_settings(build_parser().parse_args(line.split()))
    assert [options.adapters for options in settings.models] == [(), ((gguf, 0.5), (gguf, 1.0))]
    assert [options.threads for options in settings.models] == [3, 3]
    assert settings.labels == ("模型", "模型 + 模型=0.5 + 模型")
    assert (settings.sampling.seed, settings.prompt) == (4, "問")


@pytest.mark.parametrize(
    ("line", "says"), [("--port 5", "--port is for --web"), ("--web --no-tui", "exclude each other")]
)
def test_what_a_browser_cannot_have_is_one_sentence(gguf: Path, line: str, says: str) -> None:
    code, _, said = run_cli("tui.cli", "chat", "--model", gguf, *line.split())
    assert code == 2
    assert says in said


@pytest.mark.parametrize("module", ["aiohttp", "textual_serve"])
def test_a_browser_without_its_packages_is_one_sentence(
    gguf: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == module else real(name, *rest))
    code, _, said = run_cli("tui.cli", "chat", "--model", gguf, "--web")
    assert code == 3
    assert "lora2edge[web]" in said
