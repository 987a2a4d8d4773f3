"""Settings: presets, overrides, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import files
from configs.errors import ConfigError
from trainer.combinations import check_combination
from trainer.settings import Settings, load_settings, parse_override
from trainer.zero import deepspeed_config


@pytest.mark.parametrize(
    ("preset", "rank", "alpha", "length"), [("formosa", 16, 32, 1536), ("alpaca2", 64, 128, 512), ("lab4", 4, 8, 1450)]
)
def test_presets_hold_what_they_promise(preset: str, rank: int, alpha: float, length: int) -> None:
    settings = load_settings(preset)
    assert (settings.lora.rank, settings.lora.alpha, settings.training.max_length) == (rank, alpha, length)
    assert settings.deepspeed == "zero2"


def test_lab4_trains_as_it_did() -> None:
    training = load_settings("lab4").training
    assert (training.learning_rate, training.accumulation, training.epochs) == (1e-4, 8, 1)


def test_predecessors_presets_train_as_they_did() -> None:
    vicuna = load_settings("vicuna")
    assert (vicuna.lora.rank, vicuna.lora.alpha, vicuna.lora.targets) == (8, 16, ("q_proj", "v_proj"))
    assert (vicuna.model.load_in, vicuna.training.max_length, vicuna.training.epochs) == (8, 256, 3)
    assert vicuna.training.batch_size * vicuna.training.accumulation == 128
    ner = load_settings("ner")
    assert (ner.lora.rank, ner.lora.alpha, ner.deepspeed) == (8, 32, "zero1-offload")


def test_the_offloading_formosa_is_formosa_otherwise() -> None:
    assert load_settings("formosa-zero3-offload") == load_settings("formosa", deepspeed="zero3-offload")


@pytest.mark.parametrize("preset", files.names("presets"))
def test_no_preset_asks_for_what_cannot_be_or_must_be_built(preset: str) -> None:
    settings = load_settings(preset)
    for on_gpu in (False, True):
        config = deepspeed_config(settings.deepspeed, settings, on_gpu=on_gpu)
        check_combination(settings, config, on_gpu=on_gpu, is_tied=False, continues_adapter=False)
    assert settings.training.optimizer != "cpu_adam"


def test_overrides_are_toml_and_bare_words_are_strings() -> None:
    settings = load_settings(
        overrides=["training.learning_rate=1e-5", "training.scheduler=linear", 'lora.targets=["q_proj"]']
    )
    assert settings.training.learning_rate == 1e-5
    assert settings.training.scheduler == "linear"
    assert settings.lora.targets == ("q_proj",)
    assert load_settings(overrides=["lora.targets=q_proj, v_proj"]).lora.targets == ("q_proj", "v_proj")


def test_the_flag_beats_the_preset() -> None:
    assert load_settings(deepspeed="none").deepspeed == "none"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.learning_rat=1", "training.learning_rate"),
        ("seed=1", "training.seed"),
        ("lora.rank=0", "lora.rank"),
        ("lora.rank=many", "lora.rank"),
        ("training.scheduler=wavy", "training.scheduler"),
        ("training=1", "unknown setting"),
        ("lora.plus_ratio=true", "lora.plus_ratio = True: it is no switch, and takes a number"),
        ("training.fused=true", "training.fused = True: input should be 'auto', 'on' or 'off'"),
        ("training.learning_rate=inf", "training.learning_rate"),
        ("training.epochs=inf", "training.epochs"),
        ("training.seed=4294967296", "training.seed"),
        ("lora.rank", "section.key=VALUE"),
    ],
)
def test_a_wrong_override_names_the_setting(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_settings(overrides=[override])


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[lora]\nrank = 2\n", encoding="utf-8")
    assert load_settings(str(path)).lora.rank == 2
    path.write_text("[lora]\nrang = 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"lora\.rank"):
        load_settings(str(path))
    for text in ("model = 3", "[[lora]]\nrank = 2"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match="unknown setting"):
            load_settings(str(path), ["model.load_in=4", "lora.rank=4"])
    path.write_text("[lora]\nrank = 3\n", encoding="utf-8-sig")
    assert load_settings(str(path)).lora.rank == 3
    path.write_text("[lora\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not TOML"):
        load_settings(str(path))
    with pytest.raises(
        ConfigError, match="alpaca2, formosa, formosa-zero3-offload, lab4, ner, tibetan-stage1, tibetan-stage2, vicuna"
    ):
        load_settings("formossa")


def test_an_override_keeps_equal_signs_in_its_value() -> None:
    assert parse_override("deepspeed=a=b.json") == ("deepspeed", "a=b.json")


@pytest.mark.parametrize("name", files.names("deepspeed"))
def test_shipped_deepspeed_files_build_nothing_and_decide_nothing(name: str) -> None:
    config = deepspeed_config(name, Settings(), on_gpu=False)
    assert config is not None
    assert config["zero_force_ds_cpu_optimizer"] is False
    assert str(config["zero_optimization"]["stage"]) in name
    assert ("offload_optimizer" in config["zero_optimization"]) == name.endswith("offload")
    assert 'pin_memory": true' not in str(config).lower()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"optimizer": {"type": "Adam"}}', "optimizer"),
        ('{"scheduler": {}}', "scheduler"),
        ('{"fp16": {"enabled": true}}', "model.precision decides"),
        ('{"bf16": true}', "not a section"),
        ('{"train_micro_batch_size_per_gpu": 4}', "training.batch_size decides"),
        ('{"train_batch_size": 4}', "--gpus decide"),
        ('{"gradient_clipping": 1.0}', "training.max_grad_norm decides"),
        ('{"zero_force_ds_cpu_optimizer": true}', "builds an optimizer"),
        ('{"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}}', "stage 2 has no offload_param"),
        ('{"zero_optimization": {"stage": 0, "offload_optimizer": {"device": "cpu"}}}', "stage 0 has no offload"),
        ('{"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}', "nvme"),
        ('{"zero_optimization": {"stage": 4}}', "stage 4"),
        ('{"zero_optimization": {"stage": "2"}}', 'stage "2"'),
        ('{"zero_optimization": {"stage": true}}', "stage true"),
        ('{"zero_optimization": 2}', "'zero_optimization' is not a section"),
        ('{"zero_optimization": {"stage": 2, "offload_optimizer": true}}', "'offload_optimizer' is not a section"),
        ('{"zero_optimization": {"stage": 2, "cpu_offload": true}}', 'write "offload_optimizer"'),
        ('{"zero_optimization": {"stage": 2, "compute_grad_norm": false}}', "unmeasured"),
        ('{"zero_optimisation": {"stage": 3}}', "did you mean zero_optimization"),
        ('{"tensor_parallel": {"autotp_size": 2}}', "nothing that this training knows"),
        ('{"torch_autocast": {"enabled": true}}', "set model.precision"),
        ("[]", "not a DeepSpeed configuration"),
        ("{", "not JSON"),
    ],
)
def test_deepspeed_files_that_cannot_work_are_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        deepspeed_config(str(path), Settings(), on_gpu=False)


def test_a_deepspeed_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text('{"zero_optimization": {"stage": 3}, "wall_clock_breakdown": true}', encoding="utf-8-sig")
    config = deepspeed_config(str(path), Settings(), on_gpu=False)
    assert config is not None
    assert (config["zero_optimization"]["stage"], config["wall_clock_breakdown"]) == (3, True)
