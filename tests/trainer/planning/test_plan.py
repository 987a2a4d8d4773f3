"""`trainer plan`: parts that add up, ways that fit, and a prediction that a real training bears out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.exam import Question
from tests import tiny
from tests.trainer.conftest import run_fit
from trainer.planning.amounts import GIB, parse_amount
from trainer.planning.choice import Option, cheapest
from trainer.planning.fake_step import Step
from trainer.planning.parts import Parts, Setting, Way, parts_on_cpu, parts_on_gpu

STEP = Step(
    training=2_000, evaluation=1_000, parameters=1_000_000, in_layers=900_000, trained=10_000, largest_linear=5_000,
)  # fmt: skip


def planned(*arguments: object) -> dict[str, Any]:
    code, out, err = tiny.run_cli("trainer.cli", "plan", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def seven_billion() -> dict[str, Any]:
    """The plan of a 7B model on an 8 GB card."""
    return planned("--model", "7b", "--preset", "formosa", "--gpu-memory", "8GB", "--host-memory", "64GB")


def row(plan: dict[str, Any], bits: int, deepspeed: str) -> dict[str, Any]:
    (found,) = (row for row in plan["rows"] if (row["bits"], row["deepspeed"]) == (bits, deepspeed))
    return found


@pytest.mark.slow
def test_every_stage_and_width_has_a_row_whose_parts_add_up(seven_billion: dict[str, Any]) -> None:
    assert len(seven_billion["rows"]) == 18
    for one in seven_billion["rows"]:
        assert one["device_total"] == pytest.approx(sum(one["device"].values()), abs=5)
        assert one["host_total"] == pytest.approx(sum(one["host"].values()), abs=5)
        assert one["fits"] == one["fits_cards"]["8GB"] == (one["device_total"] <= 8 * GIB)
    assert seven_billion["estimated"] is True


@pytest.mark.slow
def test_the_parameters_are_those_of_the_formula(seven_billion: dict[str, Any]) -> None:
    h, f, layers, v, r = 4096, 11_008, 32, 55_296, 16
    inside = layers * (4 * h * h + 3 * h * f)
    assert seven_billion["parameters"] == {
        "base": inside + 2 * v * h + layers * 2 * h + h,
        "in_layers": inside,
        "trained": layers * r * (4 * 2 * h + 3 * (h + f)),
    }
    assert row(seven_billion, 16, "none")["device"]["base"] == 2 * seven_billion["parameters"]["base"]
    assert row(seven_billion, 16, "none")["device"]["trained"] == 16 * seven_billion["parameters"]["trained"]


@pytest.mark.slow
def test_a_seven_billion_model_fits_eight_gb_in_four_bits(seven_billion: dict[str, Any]) -> None:
    assert not row(seven_billion, 16, "none")["fits"]
    assert row(seven_billion, 4, "none")["fits"]
    assert seven_billion["recommended"]["bits"] == 4
    assert "--set model.load_in=4" in seven_billion["recommended"]["command"]
    # An offloaded base is on the host, in 16 bits.
    assert row(seven_billion, 16, "zero3-offload")["host"]["offloaded base"] == 2 * seven_billion["parameters"]["base"]


@pytest.mark.slow
def test_what_does_not_fit_is_said_and_what_fits_is_cheaper_with_more_room() -> None:
    large = planned("--model", "13b", "--gpu-memory", "24GB", "--host-memory", "64GB")["recommended"]
    small = planned("--model", "13b", "--gpu-memory", "6GB", "--host-memory", "16GB")
    assert large["device_total"] > 11 * GIB
    assert small["recommended"] is None
    code, out, _ = tiny.run_cli("trainer.cli", "plan", "--model", "13b", "--gpu-memory", "6GB", "--host-memory", "16GB")
    assert code == 0
    assert "nothing fits 6.0 GiB on the card" in out
    assert "of the host, which has 16.0; estimated: no card was measured" in out


@pytest.mark.slow
def test_layers_that_are_not_run_are_reckoned_exactly() -> None:
    import torch
    from transformers import LlamaConfig

    from trainer.planning import fake_step
    from trainer.planning.models import PlannedModel
    from trainer.settings import load_settings

    options = {
        "vocab_size": 2_000, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 7,
        "num_attention_heads": 4, "num_key_value_heads": 2,
    }  # fmt: skip
    batch = fake_step.Batch(length=300, trained=3, validated=280, scored=(2, 280))
    for checkpointing in ("true", "false"):
        settings = load_settings("formosa", [f"training.gradient_checkpointing={checkpointing}"])
        whole = fake_step._measured(LlamaConfig(**options), 7, settings, torch.float32, batch)
        model = PlannedModel("seven", {"model_type": "llama", **options})
        assert fake_step.measure(model, settings, batch, on_cpu=True) == whole


def long_rows(count: int, letters: int) -> list[Question]:
    """Questions on passages of so many letters."""
    return [
        replace(question, passage=(question.passage * letters)[:letters] + str(number))
        for number, question in enumerate(tiny.questions(count))
    ]


SMALL = {"hidden": 1024, "layers": 2, "intermediate": 2752, "heads": 8}
LARGE = {"hidden": 1024, "layers": 4, "intermediate": 2752, "heads": 8}
ONCE, TWICE = {"training__gradient_checkpointing": "false"}, {"training__gradient_checkpointing": "true"}


@pytest.mark.slow
@pytest.mark.own_process
@pytest.mark.parametrize(
    ("shape", "data", "changes"),
    [
        (SMALL, "exam", ONCE | {"evaluation__batch_size": 2}),
        (LARGE, "exam", TWICE | {"evaluation__batch_size": 1}),
        (SMALL, "exam", ONCE | {"model__attention": "eager", "evaluation__batch_size": 1}),
        (SMALL, "text", TWICE),
    ],
    ids=["small", "large", "eager", "text"],
)
def test_the_prediction_is_within_a_tenth_of_what_a_training_takes(
    shape: dict[str, int], data: str, changes: dict[str, object], tmp_path: Path
) -> None:
    base = tiny.base(tmp_path / "base", **shape)
    rows = long_rows(16, 700)
    if data == "exam":
        source = tiny.sheet(tmp_path / "sheet.xlsx", rows)
    else:
        source = tmp_path / "texts.txt"
        source.write_text("".join(f"{row.passage}\n" for row in rows), encoding="utf-8")
    code, _, err = tiny.run_cli("trainer.cli", "prepare", source, "--output", tmp_path / "data", "--model", base)
    assert code == 0, err
    settings = {
        "training__batch_size": 1, "training__accumulation": 2, "training__steps": 2, "evaluation__rows": 4,
        "lora__rank": 16, "lora__alpha": 32, "lora__dropout": 0.05, **changes,
    }  # fmt: skip
    code, _, err = run_fit(base, tmp_path / "data", tmp_path / "a", "--deepspeed", "none", **settings)
    assert code == 0, err
    result = json.loads((tmp_path / "a" / "training.json").read_text(encoding="utf-8"))["result"]
    sets = [part for key, value in settings.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]
    plan = planned("--model", base, "--preset", "formosa", "--data", tmp_path / "data", "--cpu", *sets)
    parts = row(plan, 32, "none")["device"]
    predicted = sum(parts.values()) - parts["libraries"]
    measured = result["peak_memory"] - result["memory_before_model"]
    assert parts["activations"] > 0.15 * predicted, "the weights alone would decide"
    assert predicted == pytest.approx(measured, rel=0.1)


def way(bits: int = 16, name: str = "none", **zero: Any) -> Way:
    return Way(bits, name, zero or None)


def test_what_zero_shares_and_offloads_leaves_the_card() -> None:
    setting = Setting(STEP, width=2, processes=2)
    zero3 = parts_on_gpu(setting, way(16, "zero3", stage=3))
    assert zero3.device["base"] == 1_000_000
    offloaded = parts_on_gpu(
        setting, way(16, "z", stage=3, offload_param={}, offload_optimizer={}, stage3_max_live_parameters=100)
    )
    assert offloaded.device["base"] == 1_000_000, "an empty section offloads nothing"
    offloaded = parts_on_gpu(
        setting,
        way(16, "z", stage=3, offload_param={"device": "cpu"}, offload_optimizer={"device": "cpu"},
            stage3_max_live_parameters=100),
    )  # fmt: skip
    assert offloaded.device["base"] == 200 + 10_000
    assert offloaded.host["offloaded base"] == 2_000_000
    assert offloaded.host["offloaded optimizer"] == 16 * 10_000
    assert offloaded.device["trained"] == 2 * 10_000
    quantized = parts_on_gpu(setting, way(4, "zero3", stage=3))
    assert quantized.device["base"] == pytest.approx(0.516 * 900_000 + 2 * 100_000)


def test_a_bucket_is_counted_whole_and_twice_where_it_is_double() -> None:
    setting = Setting(STEP, width=2, processes=1)
    bucket = {"contiguous_gradients": True, "reduce_bucket_size": 1_000_000}
    assert parts_on_gpu(setting, way(16, "zero2", stage=2, **bucket)).device["work space"] == 2_000_000
    double = way(16, "zero2", stage=2, overlap_comm=True, **bucket)
    assert parts_on_gpu(setting, double).device["work space"] == 4_000_000


def test_on_a_cpu_weights_and_what_is_trained_are_counted_once() -> None:
    whole = parts_on_cpu(Setting(STEP, width=4, processes=1), way())
    assert whole.device["base"] == 4_000_000
    assert whole.device["trained"] == 160_000


def option(size: int, *, bits: int = 16, twice: bool = False, length: int = 1536) -> Option:
    return Option("formosa", way(bits), twice, length, Parts({"all": size}, {"all": 5}))


def test_the_quickest_that_fits_is_recommended() -> None:
    options = [option(100), option(60, twice=True), option(30, bits=4), option(20, bits=4, twice=True)]
    chosen = [cheapest(options, device, 10) for device in (100, 99, 59, 29, 19)]
    assert [one and one.parts.device_total for one in chosen] == [100, 60, 30, 20, None]
    assert cheapest(options, 100, 4) is None, "the host is too small"
    shorter = cheapest([option(10, length=512), option(15, twice=True, length=1024)], 17, 10)
    assert shorter is not None
    assert (shorter.max_length, shorter.checkpointing) == (1024, True)


@pytest.mark.parametrize(
    ("text", "amount"), [("8GB", 8 * GIB), ("8", 8 * GIB), ("11264M", 11 * GIB), ("0.5 TiB", 512 * GIB), ("24gb", 24 * GIB)]
)  # fmt: skip
def test_amounts(text: str, amount: int) -> None:
    assert parse_amount(text, "--gpu-memory") == amount


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--model", "8b"), "1.3b, 7b, 13b"),
        (("--model", "7b", "--gpu-memory", "eight"), "such as 8GB"),
        (("--model", "7b", "--gpu-memory", "0GB"), "such as 8GB"),
        (("--model", "7b", "--gpu-memory", "8GB", "--cpu"), "--cpu"),
        (("--model", "7b", "--gpus", "0"), "at least one"),
        (("--model", "7b", "--preset", "formossa"), "formosa"),
        (("--model", "7b", "--set", "lora.rankk=2"), "lora.rank"),
        (("--model", "7b", "--data", "nowhere"), "trainer prepare"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: tuple[str, ...], told: str) -> None:
    code, out, err = tiny.run_cli("trainer.cli", "plan", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1


def test_a_config_that_is_no_causal_model_is_one_sentence(tmp_path: Path) -> None:
    for text, told in (
        ("{", "not JSON"),
        ("[]", "not a model"),
        ('{"model_type": "nothing"}', "cannot be planned for"),
    ):
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        code, _, err = tiny.run_cli("trainer.cli", "plan", "--model", tmp_path)
        assert code == 2
        assert told in err
        assert err.count("\n") == 1


def test_the_help_of_plan_loads_nothing_heavy() -> None:
    program = (
        "import sys, contextlib, io, trainer.cli as c\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): c.main(['plan', '--help'])\n"
        "import trainer.planning.models, trainer.planning.parts, trainer.planning.choice, trainer.planning.report\n"
        "print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "peft", "deepspeed"} & set(modules)
