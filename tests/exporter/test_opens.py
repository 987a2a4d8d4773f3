"""The outputs in the programs their users have: llama.cpp and transformers, with the same logits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.exam import Question
from configs.formats import Formats
from tests import tiny
from tests.exporter.conftest import merge
from tests.exporter.oracles import LlamaCpp, gguf_keys, peft_merged_model, transformers_logits
from tests.tiny import run_cli

IDS = [1, *range(300, 340), 17, 250, 33, 400, 5, 600]


@pytest.fixture(scope="module")
def reference(tiny_base: Path, tiny_adapter: Path) -> np.ndarray:
    return transformers_logits(peft_merged_model(tiny_base, tiny_adapter), IDS)


def llama_logits(path: Path, adapter: Path | None = None) -> np.ndarray:
    engine = LlamaCpp(path, adapter)
    found = engine.logits(IDS)
    engine.close()
    return found


@pytest.mark.parametrize(
    ("file_type", "most"), [("f32", 1e-4), ("f16", 2e-2), ("bf16", 1e-1), ("q8_0", 0.5), ("q4_0", 4.0)]
)
def test_llama_cpp_opens_every_type_with_the_merged_logits(
    file_type: str, most: float, exports: dict[str, Path], reference: np.ndarray
) -> None:
    assert np.abs(llama_logits(exports[file_type]) - reference).max() < most


def test_base_and_merged_model_differ(tiny_base: Path, reference: np.ndarray, tmp_path: Path) -> None:
    assert np.abs(llama_logits(merge(tiny_base, tmp_path / "b.gguf", type="f32")) - reference).max() > 0.1


def test_transformers_opens_the_folder_with_pefts_logits(exports: dict[str, Path], reference: np.ndarray) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(exports["huggingface"], dtype="auto").eval()
    assert np.abs(transformers_logits(model, IDS) - reference).max() < 1e-5


@pytest.mark.parametrize("rslora", [False, True])
def test_adapter_file_plugged_into_the_base_gives_the_merged_logits(
    rslora: bool, tiny_base: Path, tmp_path: Path
) -> None:
    adapter = tiny.adapter(tiny_base, tmp_path / "adapter", r=12, alpha=20, rslora=rslora, seed=5)
    code, _, err = run_cli(
        "exporter.cli", "adapter", "--adapter", adapter, "--base", tiny_base, "--output", tmp_path / "lora.gguf"
    )
    assert code == 0, err
    base = merge(tiny_base, tmp_path / "base.gguf", type="f32")
    merged = transformers_logits(peft_merged_model(tiny_base, adapter), IDS)
    assert np.abs(llama_logits(base, tmp_path / "lora.gguf") - merged).max() < 1e-4
    keys = gguf_keys(tmp_path / "lora.gguf")
    assert keys["general.type"] == "adapter"
    assert keys["adapter.type"] == "lora"
    assert Formats.from_gguf_keys(keys) == Formats.from_folder(adapter)
    assert keys["tokenizer.chat_template"] == Formats.from_folder(adapter).prompt.chat_template


def test_adapter_file_holds_unequal_scales(tiny_base: Path, tmp_path: Path) -> None:
    adapter = tiny.adapter(tiny_base, tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["alpha_pattern"] = {"q_proj": 5, "down_proj": 31}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    run_cli("exporter.cli", "adapter", "--adapter", adapter, "--base", tiny_base, "--output", tmp_path / "lora.gguf")
    base = merge(tiny_base, tmp_path / "base.gguf", type="f32")
    merged = merge(tiny_base, tmp_path / "merged.gguf", adapter, type="f32")
    assert np.abs(llama_logits(base, tmp_path / "lora.gguf") - llama_logits(merged)).max() < 1e-4


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
        {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32, "rope_theta": 500.0,
        },
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0},
    ],
    ids=["linear", "llama3", "yarn"],
)  # fmt: skip
def test_rope_scaling_reaches_llama_cpp(scaling: dict[str, object], tiny_base: Path, tmp_path: Path) -> None:
    import shutil

    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    config = json.loads((base / "config.json").read_text())
    config["rope_parameters"] = scaling
    (base / "config.json").write_text(json.dumps(config))
    expected = transformers_logits(peft_merged_model(base), IDS)
    assert np.abs(llama_logits(merge(base, tmp_path / "m.gguf", type="f32")) - expected).max() < 1e-4
    plain = transformers_logits(peft_merged_model(tiny_base), IDS)
    assert np.abs(plain - expected).max() > 1e-3


def test_llama_cpp_tokenizes_as_sentencepiece(tiny_base: Path, exports: dict[str, Path]) -> None:
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(tiny_base / "tokenizer.model"))
    texts = [tiny_text(row) for row in tiny.questions(200, seed=1)]
    texts += [
        "",
        " ",
        "  two  spaces ",
        "tab\tnewline\n\n",
        "😀 emoji",
        "</s>[INST]<|im_end|>",
        "藏文 བོད་སྐད་",
        "1",
        " 1",
        "a" * 300,
    ]
    engine = LlamaCpp(exports["q4_0"])
    wrong = [text for text in texts if engine.tokenize(text) != pieces.encode(text)]
    engine.close()
    assert wrong == []


def tiny_text(row: Question) -> str:
    return f"{row.passage}\n{row.question} {' '.join(row.choices)}"


def test_embedded_chat_template_renders_the_same_bytes(exports: dict[str, Path]) -> None:
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    keys = gguf_keys(exports["q4_0"])
    formats = Formats.from_gguf_keys(keys)
    assert formats is not None
    assert formats.question is not None
    formatter = Jinja2ChatFormatter(keys["tokenizer.chat_template"], eos_token="</s>", bos_token="<s>")
    for row in tiny.questions(20):
        messages = formats.question.messages(Question(row.passage, row.question, row.choices, None))
        theirs = formatter(messages=messages).prompt
        assert theirs == formats.prompt.render(messages, add_generation_prompt=True).text


def test_folder_carries_tokenizer_template_and_format(tiny_base: Path, exports: dict[str, Path]) -> None:
    folder = exports["huggingface"]
    formats = Formats.from_folder(folder)
    assert formats is not None
    assert formats == Formats.from_folder(tiny_base)
    assert (folder / "tokenizer.model").read_bytes() == (tiny_base / "tokenizer.model").read_bytes()
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == formats.prompt.chat_template
    assert {"config.json", "generation_config.json", "manifest.json"} <= {path.name for path in folder.iterdir()}
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())


def test_ggufs_own_dump_reads_every_gguf(
    exports: dict[str, Path], tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    words = ["adapter", "--adapter", tiny_adapter, "--base", tiny_base, "--output", tmp_path / "lora.gguf"]
    assert run_cli("exporter.cli", *words)[0] == 0
    for path, count in ((exports["q4_0"], 21), (exports["bf16"], 21), (tmp_path / "lora.gguf", 28)):
        words = [sys.executable, "-m", "gguf.scripts.gguf_dump", "--json", path]
        dumped = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        assert len(dumped["tensors"]) == count
        assert dumped["metadata"]["general.architecture"]["value"] == "llama"


LLAMA = """
import json, sys
import numpy as np
from llama_cpp import Llama
path, lora, ids = sys.argv[1], sys.argv[2] or None, json.loads(sys.argv[3])
model = Llama(path, lora_path=lora, n_ctx=128, logits_all=True, verbose=False, n_threads=1, type_k=0, type_v=0)
model.eval(ids)
np.save(sys.argv[4], model.scores[: len(ids)])
print(json.dumps([model.metadata["general.name"], model.tokenize("文章 1".encode(), add_bos=False)]))
"""


def test_llama_cpp_pythons_own_class_opens_merged_and_plugged_in(
    exports: dict[str, Path], tiny_base: Path, tiny_adapter: Path, reference: np.ndarray, tmp_path: Path
) -> None:
    """`llama_cpp.Llama`, as its users call it; in a process of its own, since it redirects output while it loads."""
    from sentencepiece import SentencePieceProcessor

    lora = tmp_path / "lora.gguf"
    words = ["adapter", "--adapter", tiny_adapter, "--base", tiny_base, "--output", lora]
    assert run_cli("exporter.cli", *words)[0] == 0
    base = merge(tiny_base, tmp_path / "base.gguf", type="f32")
    pieces = SentencePieceProcessor(model_file=str(tiny_base / "tokenizer.model"))
    for path, adapter in ((exports["f32"], ""), (base, lora)):
        command = [sys.executable, "-c", LLAMA, path, str(adapter), json.dumps(IDS), tmp_path / "logits.npy"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == [path.stem, pieces.encode("文章 1")]
        assert np.abs(np.load(tmp_path / "logits.npy") - reference).max() < 1e-3  # its flash attention rounds to f16
