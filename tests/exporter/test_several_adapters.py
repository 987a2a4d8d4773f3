"""Several adapters in one merge, where adapters lie, and what a llama.cpp LoRA file cannot hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tiny
from tests.exporter.adapters import biased_base, make_adapter
from tests.exporter.conftest import merge
from tests.tiny import run_cli

FILE = "adapter_model.safetensors"
STEM = "base_model.model."


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / ("model.safetensors" if (folder / "config.json").is_file() else FILE))


def error(base: Path, output: Path, *adapters: object, command: str = "merge") -> str:
    words: list[object] = ["--base", base, "--output", output]
    for adapter in adapters:
        words += ["--adapter", adapter]
    code, _, err = run_cli("exporter.cli", command, *words, *(["--format", "gguf"] if command == "merge" else []))
    assert code in (1, 2), err
    assert not output.exists()
    return err


def delta(folder: Path, name: str, scale: float) -> torch.Tensor:
    table, stem = weights(folder), STEM + name
    return torch.mm(table[f"{stem}.lora_B.weight"].float(), table[f"{stem}.lora_A.weight"].float()) * scale


def test_dora_among_others_is_a_weighted_difference(bf16_base: Path, tmp_path: Path) -> None:
    dora = make_adapter(bf16_base, tmp_path / "dora", use_dora=True, target_modules=["down_proj"])
    plain = make_adapter(bf16_base, tmp_path / "plain", target_modules=["down_proj"], seed=6)
    ours = weights(merge(bf16_base, tmp_path / "out", f"{dora}=0.5", plain, format="huggingface"))
    name = "model.layers.2.mlp.down_proj"
    base = weights(bf16_base)[f"{name}.weight"]
    changed = base + delta(dora, name, 8 / 6)
    magnitude = weights(dora)[f"{STEM}{name}.lora_magnitude_vector"].float()
    dora_new = (magnitude / changed.norm(dim=1)).view(-1, 1) * changed
    expected = base.float() + 0.5 * (dora_new - base.float()) + delta(plain, name, 8 / 6)
    got = ours[f"{name}.weight"].float()
    assert (got - expected).abs().max() < 2**-8 * expected.abs().max()  # one rounding to bf16
    assert torch.equal(got, expected.bfloat16().float()) or (got != expected.bfloat16().float()).float().mean() < 1e-3


def test_last_whole_tensor_wins_and_voids_what_was_added_before(tiny_base: Path, tmp_path: Path) -> None:
    first = make_adapter(tiny_base, tmp_path / "a", target_modules=["q_proj", "embed_tokens"])
    second = make_adapter(tiny_base, tmp_path / "b", modules_to_save=["embed_tokens", "lm_head"], seed=7)
    third = make_adapter(tiny_base, tmp_path / "c", modules_to_save=["lm_head"], seed=8)
    ours = weights(merge(tiny_base, tmp_path / "out", first, second, third, format="huggingface"))
    assert torch.equal(ours["model.embed_tokens.weight"], weights(second)[f"{STEM}model.embed_tokens.weight"])
    assert torch.equal(ours["lm_head.weight"], weights(third)[f"{STEM}lm_head.weight"])
    q_proj = "model.layers.0.self_attn.q_proj"
    sums = sum(delta(folder, q_proj, 8 / 6) for folder in (first, second, third))
    assert torch.allclose(ours[f"{q_proj}.weight"], weights(tiny_base)[f"{q_proj}.weight"] + sums, atol=1e-6)


def test_factors_that_come_with_the_bases_own_embeddings_add_up(tiny_base: Path, tmp_path: Path) -> None:
    """PEFT saves the untouched matrix beside an embedding's factors; taken for a replacement it would void the first."""
    fields: dict[str, Any] = {"target_modules": ["q_proj", "embed_tokens"]}
    one, two = (make_adapter(tiny_base, tmp_path / str(seed), seed=seed, **fields) for seed in (1, 2))
    assert f"{STEM}model.embed_tokens.base_layer.weight" in weights(two)
    ours = weights(merge(tiny_base, tmp_path / "out", one, f"{two}=-0.25", format="huggingface"))
    name = "model.embed_tokens"
    expected = weights(tiny_base)[f"{name}.weight"]
    for folder, weight in ((one, 1.0), (two, -0.25)):
        table = weights(folder)
        product = table[f"{STEM}{name}.lora_embedding_B"] @ table[f"{STEM}{name}.lora_embedding_A"]
        expected = expected + product.T * (weight * 8 / 6)
    assert torch.allclose(ours[f"{name}.weight"], expected, atol=1e-6)


def test_rows_of_later_tokens_win_and_contradictions_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    one = make_adapter(tiny_base, tmp_path / "one", trainable_token_indices=[3, 4])
    two = make_adapter(tiny_base, tmp_path / "two", trainable_token_indices=[5, 4], seed=9)
    ours = weights(merge(tiny_base, tmp_path / "out", one, two, format="huggingface"))["model.embed_tokens.weight"]
    key = f"{STEM}model.embed_tokens.token_adapter.trainable_tokens_delta"
    assert torch.equal(ours[[3, 5, 4]], torch.cat([weights(one)[key][:1], weights(two)[key]]))
    whole = make_adapter(tiny_base, tmp_path / "whole", target_modules=["embed_tokens"])
    assert "contradict each other" in error(tiny_base, tmp_path / "m.gguf", whole, two)


def test_weight_of_whole_tensors_is_said_not_to_apply(tiny_base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_base, tmp_path / "a", modules_to_save=["lm_head"])
    words = ["--base", tiny_base, "--adapter", f"{adapter}=0.5", "--format", "gguf", "--output", tmp_path / "m.gguf"]
    assert "the weight 0.5 of" in run_cli("exporter.cli", "merge", *words, "--dry-run")[2]


def test_vocabularies_must_contain_each_other(tiny_base: Path, tmp_path: Path) -> None:
    def with_added(folder: Path, text: str) -> Path:
        for name in ("tokenizer.model", "tokenizer_config.json"):
            shutil.copyfile(tiny_base / name, folder / name)
        (folder / "added_tokens.json").write_text(json.dumps({text: 640}))
        return folder

    def grown(name: str, text: str) -> Path:
        return with_added(make_adapter(tiny_base, tmp_path / name, rows=641), text)

    one, other, plain = grown("one", "<a>"), grown("other", "<b>"), make_adapter(tiny_base, tmp_path / "plain")
    output = merge(tiny_base, tmp_path / "out", one, plain, format="huggingface")
    assert json.loads((output / "config.json").read_text())["vocab_size"] == 641
    assert json.loads((output / "added_tokens.json").read_text()) == {"<a>": 640}
    assert "token 640 is '<b>' and not '<a>'" in error(tiny_base, tmp_path / "m.gguf", one, other)
    shrunk = make_adapter(tiny_base, tmp_path / "shrunk", modules_to_save=["lm_head", "embed_tokens"])
    assert "641 x 64 in the base and 640 x 64" in error(tiny_base, tmp_path / "m.gguf", one, shrunk)
    foreign = tiny.adapter(tiny_base, tmp_path / "foreign")
    from sentencepiece import SentencePieceTrainer

    SentencePieceTrainer.train(
        sentence_iterator=iter(["another text altogether"] * 9), model_prefix=str(foreign / "tokenizer"), vocab_size=30,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    assert "does not contain that of" in error(tiny_base, tmp_path / "m.gguf", foreign)


@pytest.mark.parametrize("place", ["checkpoint-30", "sft_lora_model"])
def test_only_adapter_below_a_folder_is_taken_and_named(
    place: str, tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    below = Path(shutil.copytree(tiny_adapter, tmp_path / "run" / place))
    expected = merge(tiny_base, tmp_path / "a" / "m.gguf", tiny_adapter).read_bytes()
    assert merge(tiny_base, tmp_path / "b" / "m.gguf", below).read_bytes() == expected
    words = ["--base", tiny_base, "--adapter", tmp_path / "run", "--format", "gguf", "--output", tmp_path / "m.gguf"]
    code, _, err = run_cli("exporter.cli", "merge", *words)
    assert code == 0
    assert f"the adapter taken is {below}" in err
    assert (tmp_path / "m.gguf").read_bytes() == expected
    shutil.copytree(tiny_adapter, tmp_path / "run" / "checkpoint-40")
    sentence = error(tiny_base, tmp_path / "n.gguf", tmp_path / "run")
    assert "holds several adapters" in sentence
    assert place in sentence


def test_adapter_by_hub_id(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tiny_adapter))
    expected = merge(tiny_base, tmp_path / "a" / "m.gguf", tiny_adapter).read_bytes()
    assert merge(tiny_base, tmp_path / "b" / "m.gguf", "some/adapter").read_bytes() == expected


def test_three_copies_must_agree(tiny_base: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_base, tmp_path / "a", rows=700, modules_to_save=["lm_head", "embed_tokens"])
    table = weights(adapter)
    assert {f"{STEM}lm_head.{end}" for end in ("weight", "modules_to_save.weight", "original_module.weight")} <= set(
        table
    )
    table[f"{STEM}lm_head.weight"][5, 5] += 1
    save_file(table, adapter / FILE)
    assert "two different tensors for lm_head" in error(tiny_base, tmp_path / "m.gguf", adapter)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"use_dora": True}, "DoRA's magnitudes"),
        ({"modules_to_save": ["lm_head"]}, "whole tensors"),
        ({"rows": 700}, "whole tensors"),
        ({"trainable_token_indices": [3]}, "rows of tokens"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "factors of an embedding"),
    ],
)
def test_adapter_file_refuses_what_it_cannot_hold(
    fields: dict[str, Any], what: str, tiny_base: Path, tmp_path: Path
) -> None:
    sentence = error(
        tiny_base, tmp_path / "l.gguf", make_adapter(tiny_base, tmp_path / "a", **fields), command="adapter"
    )
    assert f"a llama.cpp LoRA file cannot hold {what}" in sentence
    assert "exporter merge" in sentence


def test_adapter_file_refuses_biases_and_a_tied_output_matrix(tiny_base: Path, tmp_path: Path) -> None:
    biased = biased_base(tiny_base, tmp_path / "biased")
    tied = tiny.base(tmp_path / "tied", tied=True)
    for name, base, fields, what in (
        ("added", biased, {"lora_bias": True, "target_modules": ["q_proj"]}, "biases, which"),
        ("saved", biased, {"bias": "all"}, "whole tensors, which"),
        ("output", tied, {"target_modules": ["lm_head", "q_proj"]}, "an output matrix apart from tied embeddings"),
    ):
        folder = make_adapter(base, tmp_path / name, **fields)
        sentence = error(base, tmp_path / "out" / "l.gguf", folder, command="adapter")
        assert f"a llama.cpp LoRA file cannot hold {what}" in sentence, (name, sentence)
        assert "exporter merge" in sentence
        assert not (tmp_path / "out").exists()


def test_adapter_file_holds_the_output_matrix(tiny_base: Path, tmp_path: Path) -> None:
    import numpy as np

    from tests.exporter.oracles import LlamaCpp

    adapter = make_adapter(tiny_base, tmp_path / "a", target_modules=["lm_head", "q_proj"])
    words = ["--base", tiny_base, "--adapter", adapter, "--output", tmp_path / "l.gguf"]
    assert run_cli("exporter.cli", "adapter", *words)[0] == 0
    plugged = LlamaCpp(merge(tiny_base, tmp_path / "base.gguf", type="f32"), tmp_path / "l.gguf")
    merged = LlamaCpp(merge(tiny_base, tmp_path / "m.gguf", adapter, type="f32"))
    assert np.abs(plugged.logits([1, 5, 9, 300]) - merged.logits([1, 5, 9, 300])).max() < 1e-4
