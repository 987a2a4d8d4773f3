"""What each way of training writes: adapters with whole matrices, models whose own weights were trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import tiny
from tests.trainer.conftest import records, weights
from tests.trainer.fork_server import ForkServer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("trainings")]

BOTH = '["embed_tokens","lm_head"]'


def load(folder: Path) -> torch.nn.Module:
    """A model or an adapter over its base, as transformers and PEFT open it."""
    import peft
    from transformers import AutoModelForCausalLM

    if not (folder / "adapter_config.json").is_file():
        return AutoModelForCausalLM.from_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"])
    return peft.PeftModel.from_pretrained(base, folder)


@torch.no_grad()
def logits(folder: Path) -> torch.Tensor:
    ids = torch.arange(3, 40)[None]
    return load(folder).eval()(input_ids=ids).logits


@pytest.fixture(scope="module")
def full(tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of which every weight was trained."""
    output = tmp_path_factory.mktemp("full") / "model"
    code, _, err = trainings.fit(tiny_base, dataset, output, "--deepspeed", "none", training__method="full")
    assert code == 0, err
    return output


def test_full_training_writes_a_model(full: Path, tiny_base: Path, trainings: ForkServer, dataset: Path) -> None:
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_base, full))
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert (full / "config.json").read_bytes() == (tiny_base / "config.json").read_bytes()
    assert (full / "tokenizer.model").read_bytes() == (tiny_base / "tokenizer.model").read_bytes()
    assert not (full / "adapter_config.json").exists()
    record = json.loads((full / "training.json").read_text(encoding="utf-8"))
    assert record["result"]["trainable_parameters"] == sum(tensor.numel() for tensor in before.values())
    assert (logits(full) - logits(tiny_base)).abs().max() > 1e-3
    code, _, err = trainings.fit(tiny_base, dataset, full, "--deepspeed", "none", training__method="full")
    assert code == 0
    assert "already made" in err


def test_a_trained_model_is_a_base_for_the_exporter_and_for_another_training(
    full: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    code, _, err = tiny.run_cli(
        "exporter.cli", "merge", "--base", full, "--format", "gguf", "--type", "f32", "--output", tmp_path / "m.gguf"
    )
    assert code == 0, err
    code, _, err = tiny.run_cli("exporter.cli", "verify", tmp_path / "m.gguf", "--base", full)
    assert code == 0, err
    code, _, err = trainings.fit(full, dataset, tmp_path / "adapter", "--deepspeed", "none")
    assert code == 0, err


def test_embeddings_alone_leave_every_other_byte_as_it_was(
    tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    code, _, err = trainings.fit(tiny_base, dataset, tmp_path / "m", training__method="embeddings")
    assert code == 0, err
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_base, tmp_path / "m"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"model.embed_tokens.weight", "lm_head.weight"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_model_keeps_its_number_type_and_its_shards(
    dtype: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    base = tmp_path / "base"
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=getattr(torch, dtype))
    model.save_pretrained(base, max_shard_size="100KB")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(tiny_base / name, base / name)
    code, _, err = trainings.fit(
        base, dataset, tmp_path / "m", training__method="full", training__learning_rate=1e-2
    )  # fmt: skip
    assert code == 0, err
    shards = [path.name for path in sorted((tmp_path / "m").glob("model-*.safetensors"))]
    assert shards == [path.name for path in sorted(base.glob("model-*.safetensors"))]
    assert len(shards) > 1
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    assert trained.dtype == getattr(torch, dtype)
    assert (logits(tmp_path / "m") - logits(base)).abs().max() > 1e-2


def test_a_base_in_bin_files_is_written_as_safetensors(
    tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    for name, folder in (("bin", base), ("safetensors", tiny_base)):
        code, _, err = trainings.fit(folder, dataset, tmp_path / name, training__method="embeddings")
        assert code == 0, err
    assert (tmp_path / "bin" / "model.safetensors").read_bytes() == (
        tmp_path / "safetensors" / "model.safetensors"
    ).read_bytes()


def test_a_tied_base_stays_tied(dataset: Path, trainings: ForkServer, tmp_path: Path) -> None:
    base = tiny.base(tmp_path / "base", tied=True)
    for name, changes in (
        ("embeddings", {"training__method": "embeddings"}),
        ("adapter", {"lora__modules_to_save": '["embed_tokens"]'}),
    ):
        code, _, err = trainings.fit(base, dataset, tmp_path / name, **changes)
        assert code == 0, err
        model = load(tmp_path / name)
        both = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        assert torch.equal(*both)
        assert (logits(tmp_path / name) - logits(base)).abs().max() > 1e-3
    assert "lm_head.weight" not in load_file(tmp_path / "embeddings" / "model.safetensors")


def test_whole_matrices_are_in_the_adapter_once_and_trained(
    tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    code, _, err = trainings.fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", "zero3", lora__modules_to_save=BOTH)
    assert code == 0, err
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    whole = {name: tensor for name, tensor in tensors.items() if "lora_" not in name}
    assert whole.keys() == {"base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight"}
    base = load_file(tiny_base / "model.safetensors")
    for name, tensor in whole.items():
        assert tensor.dtype == torch.float32
        assert not torch.equal(tensor, base[name.removeprefix("base_model.model.")])
    code, _, err = tiny.run_cli(
        "exporter.cli", "merge", "--base", tiny_base, "--adapter", tmp_path / "a",
        "--format", "huggingface", "--output", tmp_path / "merged",
    )  # fmt: skip
    assert code == 0, err
    assert (logits(tmp_path / "merged") - logits(tmp_path / "a")).abs().max() < 1e-5


@pytest.mark.parametrize("deepspeed", ["none", "zero2", "zero3"])
def test_lora_plus_is_not_plain_lora(
    deepspeed: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    for name, ratio in (("plain", 1), ("plus", 16)):
        code, _, err = trainings.fit(
            tiny_base, dataset, tmp_path / name, "--deepspeed", deepspeed, lora__plus_ratio=ratio
        )
        assert code == 0, err
    assert records(tmp_path / "plain")[0]["loss"] == records(tmp_path / "plus")[0]["loss"]
    plain, plus = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("plain", "plus"))
    moved = [float(plus[name].abs().max() / plain[name].abs().max()) for name in plain if "lora_B" in name]
    assert min(moved) > 4


@pytest.mark.parametrize("deepspeed", ["none", "zero2", "zero3"])
@pytest.mark.parametrize(
    "kind", [{}, {"lora__dora": "true"}, {"lora__rslora": "true"}, {"lora__modules_to_save": BOTH}], ids=str
)
def test_an_adapter_of_every_kind_is_trained_further(
    kind: dict[str, object], deepspeed: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    code, _, err = trainings.fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", "none", **kind)
    assert code == 0, err
    code, _, err = trainings.fit(
        tiny_base, dataset, tmp_path / "b", "--deepspeed", deepspeed, "--init-adapter", tmp_path / "a",
        **(kind | {"training__learning_rate": 1e-9}),
    )  # fmt: skip
    assert code == 0, err
    before, after = (load_file(tmp_path / name / "adapter_model.safetensors") for name in "ab")
    assert before.keys() == after.keys()
    assert max(float((before[name] - after[name]).abs().max()) for name in before) < 1e-6
    assert weights(tmp_path / "a") != weights(tmp_path / "b")
    if kind:
        code, _, err = trainings.fit(tiny_base, dataset, tmp_path / "c", "--init-adapter", tmp_path / "a")
        assert code == 2
        (setting,) = kind
        assert f"the adapter {tmp_path / 'a'} has {setting.replace('__', '.')} = " in err


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (
            "q_proj,v_porj",
            "lora.targets names v_porj, and no layer of this base is called so (its linear layers are down_proj, ",
        ),
        ("all-linear", "lora.targets names all-linear"),
        ("q_proj,mlp", "no adapter fits this base"),
    ],
)
def test_a_target_that_gets_no_adapter_is_an_error(
    targets: str, told: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    code, _, err = trainings.fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", "none", lora__targets=targets)
    assert code == 2
    assert told in err
    assert list(tmp_path.iterdir()) == []


def test_a_target_may_be_a_path(tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path) -> None:
    code, _, err = trainings.fit(
        tiny_base, dataset, tmp_path / "a", "--deepspeed", "none", lora__targets="layers.0.self_attn.q_proj"
    )
    assert code == 0, err
    assert len(load_file(tmp_path / "a" / "adapter_model.safetensors")) == 2


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"overlap_com": True}, "DeepSpeed does not take zero_optimization.overlap_com = true of "),
        ({"reduce_bucket_size": "big"}, 'DeepSpeed does not take zero_optimization.reduce_bucket_size = "big" of '),
    ],
)
def test_what_deepspeed_does_not_take_is_said_before_a_model_is_loaded(
    part: dict[str, object], told: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2, **part}}), encoding="utf-8")
    code, _, err = trainings.fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", path)
    assert code == 2
    assert told in err
    assert "parameters to train" not in err
    assert list(tmp_path.iterdir()) == [path]
