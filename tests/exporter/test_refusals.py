"""Bad input: one sentence, the right exit code, nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import tiny
from tests.tiny import run_cli

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the base to damage."""
    return Path(shutil.copytree(tiny_base, tmp_path / "the-base"))


@pytest.fixture
def adapter(tiny_adapter: Path, tmp_path: Path) -> Path:
    """A copy of the adapter to damage."""
    return Path(shutil.copytree(tiny_adapter, tmp_path / "the-adapter"))


def refusal(base: object, adapter: object | None, output: Path, *flags: object, kind: str = "gguf") -> tuple[int, str]:
    """Exit code and sentence of a merge that must fail and leave nothing."""
    words = ["--base", base, "--format", kind, "--output", output, *flags]
    code, out, err = run_cli("exporter.cli", "merge", *words, *(["--adapter", adapter] if adapter else []))
    assert code != 0
    assert out == ""
    assert not output.parent.exists() or not list(output.parent.iterdir())
    lines = [line for line in err.splitlines() if line.startswith("exporter: error: ")]
    assert len(lines) == 1, err
    assert "unexpected" not in lines[0]
    return code, lines[0]


def edit(folder: Path, change: Callable[[Tensors], object], file: str = "adapter_model.safetensors") -> None:
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file, {"format": "pt"})


def configure(folder: Path, file: str = "adapter_config.json", **values: object) -> None:
    table = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(table | values))


A0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
B0 = A0.replace("lora_A", "lora_B")
M0 = A0.removesuffix(".lora_A.weight")
E0 = "base_model.model.model.embed_tokens"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(B0), "layers.0.self_attn.q_proj.lora_B missing"),
        (lambda t: (t.pop(A0), t.pop(B0)), "promises factors for model.layers.0.self_attn.q_proj"),
        (lambda t: t.update({"base_model.model.lm_head.lora_C": torch.ones(2)}), "that no LoRA adapter has: base_model"),
        (lambda t: t.update({A0.replace("lora_A", "lora_A.other"): t.pop(A0)}), "q_proj.lora_A.other"),
        (lambda t: t.update({f"{M0}.weight": torch.ones(64, 64)}), f"does not account for: {M0}.weight"),
        (lambda t: t.update({f"{M0}.lora_magnitude_vector": torch.ones(64)}), f"account for: {M0}.lora_magnitude"),
        (lambda t: t.update({f"{M0}.lora_B.bias": torch.ones(64)}), f"account for: {M0}.lora_B.bias"),
        (lambda t: t.update({f"{M0}.base_layer.bias": torch.ones(64)}), f"account for: {M0}.base_layer.bias"),
        (lambda t: t.update({f"{E0}.token_adapter.trainable_tokens_delta": torch.ones(2, 64)}), f"account for: {E0}"),
        (lambda t: t.update({f"{E0}.lora_embedding_A": torch.ones(8, 640)}), "embed_tokens.lora_embedding_B missing"),
        (lambda t: t.update({f"{E0}.weight": torch.ones(639, 64)}), "640 x 64 in the base and 639 x 64"),
        (lambda t: t.update({f"{E0}.weight": torch.ones(641, 64)}), "641 rows and an output matrix of 640"),
        (lambda t: t.update({f"{E0}.weight": torch.full((640, 64), torch.nan)}), f"not finite: {E0}.weight"),
        (lambda t: t.update({n.replace("layers", "blocks"): t.pop(n) for n in list(t)}), "base has no model.blocks"),
        (lambda t: t[B0].__setitem__((3, 2), float("nan")), "not finite: " + B0),
        (lambda t: t[A0].__setitem__((0, 0), float("inf")), "not finite: " + A0),
        (lambda t: t.update({A0: torch.ones(7, 64)}), "do not fit each other"),
        (lambda t: t.update({A0: torch.ones(7, 64), B0: torch.ones(64, 7)}), "has rank 7"),
        (lambda t: t.update({A0: torch.ones(8, 32)}), "was trained on another model"),
        (lambda t: t.clear(), "holds no LoRA factors at all"),
    ],
    ids=[
        "no B", "half", "stranger", "adapter name", "weight", "magnitude", "lora bias", "bias", "tokens",
        "half an embedding", "fewer rows", "rows on one side", "nan rows", "prefix",
        "nan", "inf", "ranks", "rank", "width", "empty",
    ],
)  # fmt: skip
def test_adapter_tensors_are_all_accounted_for(
    change: Callable[[Tensors], object], words: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    edit(adapter, change)
    code, sentence = refusal(base, adapter, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert words in sentence


@pytest.mark.parametrize(
    "field",
    [
        {"fan_in_fan_out": True}, {"layer_replication": [[0, 1]]}, {"a_variant_of_tomorrow": {"x": 1}},
        {"peft_type": "LOHA"}, {"alora_invocation_tokens": [1]}, {"use_qalora": True}, {"arrow_config": {"x": 1}},
        {"target_parameters": ["x"]},
        *({"init_lora_weights": name} for name in ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga")),
    ],
    ids=lambda field: next(iter(field)),
)  # fmt: skip
def test_variants_are_refused_by_name(field: dict[str, object], base: Path, adapter: Path, tmp_path: Path) -> None:
    configure(adapter, **field)
    code, sentence = refusal(base, adapter, tmp_path / "out" / "m.gguf")
    assert (code == 1 and next(iter(field)) in sentence) or "LOHA" in sentence


def test_new_embeddings_beside_an_adapter_are_refused_with_the_remedy(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    save_file({"input_embeddings": torch.ones(3, 64)}, adapter / "new_embeddings.safetensors")
    code, sentence = refusal(base, adapter, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert "new_embeddings.safetensors" in sentence
    assert "modules_to_save" in sentence


@pytest.mark.parametrize("damage", ["twice", "endless header", "one lost byte in a shard"])
def test_headers_that_lie_are_refused_before_anything_is_written(damage: str, base: Path, tmp_path: Path) -> None:
    path = base / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if damage == "twice":
        twice = json.dumps(header)[:-1] + ', "lm_head.weight": ' + json.dumps(header["lm_head.weight"]) + "}"
        path.write_bytes(len(twice).to_bytes(8, "little") + twice.encode() + data[8 + length :])
    elif damage == "endless header":
        path.write_bytes((200 << 20).to_bytes(8, "little") + data[8:])
    else:
        tensors = load_file(path)
        path.unlink()
        names = sorted(tensors)
        parts = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
        for file, some in parts.items():
            save_file({name: tensors[name] for name in some}, base / file, {"format": "pt"})
        table = {"weight_map": {name: file for file, some in parts.items() for name in some}}
        (base / "model.safetensors.index.json").write_text(json.dumps(table))
        (base / "model-2.safetensors").write_bytes((base / "model-2.safetensors").read_bytes()[:-1])
    words = {"twice": "names a tensor twice", "endless header": "is not a safetensors file"}
    for kind in ("gguf", "huggingface", "pth"):
        code, sentence = refusal(base, None, tmp_path / "out" / "m", kind=kind)
        assert code == 1
        assert words.get(damage, "model-2.safetensors is truncated") in sentence
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"use_dora": True}, "model.layers.0.mlp.down_proj.lora_magnitude_vector"),
        ({"lora_bias": True}, "q_proj.lora_B.bias"),
        ({"modules_to_save": ["lm_head"]}, "promises lm_head.weight"),
        ({"trainable_token_indices": [3]}, "promises model.embed_tokens.token_adapter.trainable_tokens_delta"),
    ],
    ids=lambda field: next(iter(field)) if isinstance(field, dict) else "",
)
def test_what_the_configuration_promises_must_be_there(
    field: dict[str, object], words: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    configure(adapter, **field)
    code, sentence = refusal(base, adapter, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert words in sentence


def test_every_field_of_the_installed_peft_is_merged_harmless_or_refused(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    import dataclasses

    from peft import LoraConfig

    from exporter.sources.adapter_config import HARMLESS, AdapterConfig

    refused = {
        "fan_in_fan_out", "megatron_config", "velora_config", "alora_invocation_tokens", "use_qalora",
        "monteclora_config", "layer_replication", "target_parameters", "use_bdlora", "arrow_config", "kasa_config",
    }  # fmt: skip
    fields = {field.name for field in dataclasses.fields(LoraConfig)}
    assert fields == AdapterConfig.model_fields.keys() | HARMLESS | refused
    configure(adapter, **dict.fromkeys(refused, True))
    sentence = refusal(base, adapter, tmp_path / "out" / "m.gguf")[1]
    assert all(f"{name}=True" in sentence for name in refused)


@pytest.mark.parametrize("shape", [{"layers": 3}, {"hidden": 32, "heads": 2}, {"kv_heads": 4}], ids=str)
def test_adapter_for_another_model_is_one_sentence(
    shape: dict[str, int], tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    other = tiny.base(tmp_path / "other", **shape)
    code, sentence = refusal(other, tiny_adapter, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert "was trained on another model than" in sentence
    deep = tiny.adapter(other, tmp_path / "deep")
    assert "was trained on another model than" in refusal(tiny_base, deep, tmp_path / "out" / "m.gguf")[1]


def test_adapter_with_a_larger_vocabulary_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    edit(
        base,
        lambda t: t.update({n: t[n][:500].clone() for n in ("lm_head.weight", "model.embed_tokens.weight")}),
        "model.safetensors",
    )
    code, sentence = refusal(base, adapter, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert "pieces" in sentence
    assert "500 rows" in sentence


@pytest.mark.parametrize("cut", [7, 60, 5000, -1])
@pytest.mark.parametrize("which", ["base", "adapter"])
def test_truncated_safetensors_is_refused_before_anything_is_written(
    cut: int, which: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    path = base / "model.safetensors" if which == "base" else adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    code, sentence = refusal(base, adapter, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert path.name in sentence
    assert "truncated" in sentence or "not a safetensors" in sentence


def test_file_longer_than_its_header_and_garbage_are_refused(base: Path, tmp_path: Path) -> None:
    path = base / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole + b"x")
    assert "1 bytes more" in refusal(base, None, tmp_path / "out" / "m.gguf")[1]
    path.write_bytes(b"\x10\0\0\0\0\0\0\0" + b"not json at all!" + whole)
    assert "not a safetensors file" in refusal(base, None, tmp_path / "out" / "m.gguf")[1]


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"architectures": ["GPTNeoXForCausalLM"]}, 2, "GPTNeoXForCausalLM"),
        ({"architectures": None}, 2, "none named"),
        ({"quantization_config": {"bits": 4}}, 1, "already quantized"),
        ({"hidden_size": 65}, 1, "by config.json it should be"),
        ({"num_hidden_layers": 3}, 1, "promises model.layers.2."),
        ({"num_hidden_layers": 1}, 1, "holds tensors that no"),
        ({"intermediate_size": "wide"}, 1, "intermediate_size"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, 1, "rope scaling 'dynamic'"),
    ],
    ids=["architecture", "none", "quantized", "hidden", "deeper", "shallower", "type", "rope"],
)
def test_bases_that_cannot_be_exported(
    values: dict[str, object], code: int, words: str, base: Path, tmp_path: Path
) -> None:
    configure(base, "config.json", **values)
    got, sentence = refusal(base, None, tmp_path / "out" / "m.gguf")
    assert got == code
    assert words in sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [("./nowhere", "does not exist"), ("/nowhere/at/all", "does not exist"), ("nowhere", "does not exist")],
)
def test_path_that_does_not_exist_never_reaches_the_hub(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.sources.hub._download", lambda *_: pytest.fail("asked the hub"))
    code, sentence = refusal(text, None, tmp_path / "out" / "m.gguf")
    assert code == 2
    assert text in sentence
    assert words in sentence


def test_missing_folder_beside_an_existing_one_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert refusal("models/llama", None, tmp_path / "out" / "m.gguf")[0] == 2


def test_hub_id_is_fetched_and_offline_is_a_sentence(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, sentence = refusal("nobody/nothing", None, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert "nobody/nothing" in sentence
    assert "hub" in sentence
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tiny_base))
    words = ["--base", "some/model", "--format", "gguf", "--output", tmp_path / "m.gguf"]
    assert run_cli("exporter.cli", "merge", *words)[0] == 0


def test_base_without_sentencepiece_model_is_refused_for_gguf_only(base: Path, tmp_path: Path) -> None:
    (base / "tokenizer.model").unlink()
    code, sentence = refusal(base, None, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert "neither tokenizer.model nor tokenizer.json" in sentence
    words = ["--base", base, "--format", "huggingface", "--output", tmp_path / "folder"]
    assert run_cli("exporter.cli", "merge", *words)[0] == 0


def test_damaged_tokenizer_model_is_refused(base: Path, tmp_path: Path) -> None:
    (base / "tokenizer.model").write_bytes(b"no model")
    assert "is not a SentencePiece model" in refusal(base, None, tmp_path / "out" / "m.gguf")[1]


@pytest.mark.parametrize("value", [1e5, float("nan"), float("inf")])
@pytest.mark.parametrize("file_type", ["f16", "q4_0"])
def test_f16_overflow_is_an_error_that_names_the_tensor(
    value: float, file_type: str, base: Path, tmp_path: Path
) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    edit(base, lambda t: t[name].__setitem__((5, 5), value), "model.safetensors")
    code, sentence = refusal(base, None, tmp_path / "out" / "m.gguf", "--type", file_type)
    assert code == 1
    assert "blk.1.ffn_up.weight" in sentence
    assert ("f16" if value == 1e5 else "not finite") in sentence


def test_f32_and_bf16_hold_what_f16_cannot(base: Path, tmp_path: Path) -> None:
    edit(base, lambda t: t["lm_head.weight"].__setitem__((5, 5), 1e5), "model.safetensors")
    for file_type in ("f32", "bf16"):
        words = ["--base", base, "--format", "gguf", "--type", file_type, "--output", tmp_path / f"{file_type}.gguf"]
        assert run_cli("exporter.cli", "merge", *words)[0] == 0


@pytest.mark.parametrize(("kind", "file_type"), [("gguf", "q9_9"), ("huggingface", "q4_0")])
def test_unknown_types_are_wrong_arguments(kind: str, file_type: str, base: Path, tmp_path: Path) -> None:
    code, sentence = refusal(base, None, tmp_path / "out" / "m", "--type", file_type, kind=kind)
    assert code == 2
    assert file_type in sentence


def test_weight_of_an_adapter_must_be_a_number(base: Path, adapter: Path, tmp_path: Path) -> None:
    code, sentence = refusal(base, f"{adapter}=much", tmp_path / "out" / "m.gguf")
    assert code == 2
    assert "'much' is not a number" in sentence


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"target_modules": "(q_proj"}, "no regular expression"),
        ({"rank_pattern": {"[": 3}}, "no regular expression"),
        ({"target_modules": None}, "target_modules"),
        ({"r": 0}, "r missing or wrong"),
        ({"lora_alpha": "much"}, "lora_alpha"),
    ],
)
def test_damaged_adapter_config_is_one_sentence(
    values: dict[str, object], words: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    configure(adapter, **values)
    code, sentence = refusal(base, adapter, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert words in sentence


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("text", ["{", "[]"])
def test_damaged_json_names_its_file(name: str, text: str, base: Path, tmp_path: Path) -> None:
    (base / name).write_text(text)
    code, sentence = refusal(base, None, tmp_path / "out" / "m.gguf")
    assert code == 1
    assert name in sentence


def test_old_config_with_negative_pad_id_is_taken(base: Path, tmp_path: Path) -> None:
    configure(base, "config.json", pad_token_id=-1)
    words = ["--base", base, "--format", "gguf", "--output", tmp_path / "m.gguf"]
    assert run_cli("exporter.cli", "merge", *words)[0] == 0


def test_folders_that_are_neither_base_nor_adapter(base: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty, None, tmp_path / "out" / "m.gguf")[0] == 2
    assert "adapter_config.json" in refusal(base, empty, tmp_path / "out" / "m.gguf")[1]
    assert "is a file" in refusal(base / "config.json", None, tmp_path / "out" / "m.gguf")[1]
