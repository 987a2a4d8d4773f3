"""The types of tensors against llama-quantize's own dry run, on skeletons of real and random shapes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from configs.errors import ConfigError
from exporter.ggml import mixture
from exporter.ggml.mixture import ModelShape, TypeRule, choose_types
from exporter.ggml.types import FILE_TYPES, GGML_NUMBERS, QUANTIZED
from tests.exporter.dry_run import Skeleton, dry_run

REAL = {
    "7B": Skeleton(ModelShape("llama", 32, 32, 32), 4096, 11008),
    "13B": Skeleton(ModelShape("llama", 40, 40, 40), 5120, 13824),
    "8B": Skeleton(ModelShape("llama", 32, 32, 8), 4096, 14336, 128256),
    "70B": Skeleton(ModelShape("llama", 80, 64, 8), 8192, 28672),
    "65B": Skeleton(ModelShape("llama", 80, 64, 64), 8192, 22016),
    "1B tied": Skeleton(ModelShape("llama", 16, 32, 8), 2048, 8192, 128256, tied=True),
    "qwen2 0.5B": Skeleton(ModelShape("qwen2", 24, 14, 2), 896, 4864, 151936, tied=True),
    "qwen2 72B": Skeleton(ModelShape("qwen2", 80, 64, 8), 8192, 29568, 152064),
    "qwen3 80 layers": Skeleton(ModelShape("qwen3", 80, 32, 8), 4096, 12288),
}


def random_skeleton(draw: random.Random) -> Skeleton:
    kv_heads = draw.choice((1, 2, 4))
    heads = kv_heads * draw.choice((1, 2, 3, 4, 8))
    shape = ModelShape(draw.choice(("llama", "qwen2")), draw.randint(1, 90), heads, kv_heads)
    hidden = heads * draw.choice((8, 24, 32, 50, 64, 256))
    return Skeleton(shape, hidden, draw.choice((40, 96, 256, 300, 512, 1056)), 64, tied=draw.random() < 0.4)


def differences(found: dict[str, str], skeleton: Skeleton, file_type: str, *rules: TypeRule) -> list[str]:
    ours = choose_types(skeleton.specs, file_type, skeleton.shape, rules)
    assert found.keys() == ours.keys()
    return [f"{file_type} {name}: {ours[name]}, not {found[name]}" for name in ours if ours[name] != found[name]]


def test_real_models_get_llama_quantizes_types(tmp_path: Path) -> None:
    files = {name: skeleton.write(tmp_path / f"{name}.gguf") for name, skeleton in REAL.items()}
    cases = [(name, file_type) for name in REAL for file_type in FILE_TYPES if file_type != "f32"]
    found = dry_run([(files[name], FILE_TYPES[file_type], []) for name, file_type in cases])
    for (name, file_type), types in zip(cases, found, strict=True):
        assert not differences(types, REAL[name], file_type), name


@pytest.mark.parametrize("count", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_random_models_get_llama_quantizes_types(count: int, tmp_path: Path) -> None:
    draw = random.Random(4)
    models = [random_skeleton(draw) for _ in range(count)]
    files = [model.write(tmp_path / f"{number}.gguf") for number, model in enumerate(models)]
    cases = [(number, file_type) for number in range(len(models)) for file_type in sorted(QUANTIZED)]
    found = dry_run([(files[number], FILE_TYPES[file_type], []) for number, file_type in cases])
    fallbacks = 0
    for (number, file_type), types in zip(cases, found, strict=True):
        assert not differences(types, models[number], file_type), models[number]
        fallbacks += "f16" in types.values()
    assert fallbacks  # rows that no block fits were among them


def test_own_rules_act_as_in_llama_quantize(tmp_path: Path) -> None:
    skeleton = REAL["8B"]
    texts = [r"blk\.\d+\.ffn_down=q5_k", "attn_v|ffn_down=iq4_xs", "^output=q8_0", "token_embd=f16"]
    rules = [TypeRule.parse(text) for text in texts]
    numbers = [(rule.pattern.pattern, GGML_NUMBERS[rule.dtype]) for rule in rules]
    path = skeleton.write(tmp_path / "8B.gguf")
    types = ["q4_k_m", "q3_k_l", "q8_0"]
    found = dry_run([(path, FILE_TYPES[file_type], numbers) for file_type in types])
    for file_type, theirs in zip(types, found, strict=True):
        assert not differences(theirs, skeleton, file_type, *rules)
    half = [TypeRule.parse(r"blk\.[0-9]\.attn_v=q8_0")]  # the rest's counter stands still meanwhile
    (theirs,) = dry_run([(path, FILE_TYPES["q4_k_m"], [(half[0].pattern.pattern, GGML_NUMBERS["q8_0"])])])
    assert not differences(theirs, skeleton, "q4_k_m", *half)


@pytest.mark.parametrize("counter", ["_attention_v_seen", "_ffn_down_seen"])
def test_a_frozen_counter_shows(counter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the tests above."""
    (found,) = dry_run([(REAL["7B"].write(tmp_path / "7B.gguf"), FILE_TYPES["q4_k_m"], [])])
    assert not differences(found, REAL["7B"], "q4_k_m")
    monkeypatch.setattr(mixture._Mixture, counter, property(lambda _self: 0, lambda _self, _value: None), raising=False)
    assert differences(found, REAL["7B"], "q4_k_m")


@pytest.mark.parametrize("text", ["attn_v", "=q4_k", "attn_v=q9_k", "(=q4_k", "attn_v=q4_k_m", ""])
def test_rules_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--tensor-type"):
        TypeRule.parse(text)


def test_a_rule_for_nothing_is_refused() -> None:
    specs = REAL["7B"].specs
    for text in ("no_such_tensor=q8_0", "_norm=q8_0", r"attn_q\.bias=f16"):
        with pytest.raises(ConfigError, match="matches no weight"):
            choose_types(specs, "q4_0", REAL["7B"].shape, [TypeRule.parse(text)])
