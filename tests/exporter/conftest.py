"""Exports made once, and the models they are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests import tiny
from tests.tiny import run_cli


def merge(
    base: Path,
    output: Path,
    *adapters: Path | str,
    format: str = "gguf",  # noqa: A002  the words of the command line
    type: str = "",  # noqa: A002
    **flags: object,
) -> Path:
    """Run `exporter merge`, which must succeed; returns the output. Words after the adapters that begin with `--`, and
    their values, go to the command as they are."""
    first = next((i for i, word in enumerate(adapters) if str(word).startswith("--")), len(adapters))
    words: list[object] = ["--base", base, "--format", format, "--output", output, *adapters[first:]]
    for adapter in adapters[:first]:
        words += ["--adapter", adapter]
    if type:
        words += ["--type", type]
    for name, value in flags.items():
        words += [f"--{name}", value]
    code, _, err = run_cli("exporter.cli", "merge", *words)
    assert code == 0, err
    return output


@pytest.fixture(scope="session", autouse=True)
def one_process_for_each_vocabulary() -> Iterator[None]:
    """llama.cpp is asked once about each vocabulary: most exports of a test run have the same."""
    from exporter.ggml import llama_child

    ask = llama_child.tokenize
    answers: dict[object, list[list[int]]] = {}

    def remember(path: Path, texts: Sequence[str]) -> list[list[int]]:
        head = path.read_bytes()
        start = head.find(b"tokenizer.ggml.")
        vocabulary = head[start : head.find(b"tokenizer.chat_template", start)]
        key = (hashlib.sha256(vocabulary).digest(), tuple(texts))
        if start < 0 or key not in answers:
            answers[key] = ask(path, texts)
        return answers[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama_child, "tokenize", remember)
        yield


@pytest.fixture(scope="session")
def bf16_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of 256, so that the output matrix is q6_K; bf16; the shape of real models in small."""
    return tiny.base(
        tmp_path_factory.mktemp("model") / "bf16", hidden=256, intermediate=320, layers=3, heads=8, kv_heads=2,
        dtype="bfloat16", seed=3,
    )  # fmt: skip


@pytest.fixture(scope="session")
def bf16_adapter(bf16_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.adapter(bf16_base, tmp_path_factory.mktemp("adapter") / "bf16", r=12, alpha=20, seed=4)


@pytest.fixture(scope="session")
def exports(tiny_base: Path, tiny_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model merged into every type, by type; "huggingface" is a folder."""
    folder = tmp_path_factory.mktemp("exports")
    found = {
        name: merge(tiny_base, folder / f"{name}.gguf", tiny_adapter, type=name)
        for name in ("f32", "f16", "bf16", "q8_0", "q4_0")
    }
    found["huggingface"] = merge(tiny_base, folder / "huggingface", tiny_adapter, format="huggingface")
    return found
