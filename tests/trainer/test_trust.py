"""A run one can trust: the same again, gone on from wherever it was killed, and no failure that says nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.trainer.conftest import losses, records
from tests.trainer.fork_server import ForkServer
from trainer import checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("trainings")]

BOTH = '["embed_tokens","lm_head"]'
RUNS: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {
    **{
        name: (("--deepspeed", name), {})
        for name in ("none", "zero0", "zero1", "zero1-offload", "zero2", "zero2-offload", "zero3", "zero3-offload")
    },
    "zero2, 2 processes": (("--deepspeed", "zero2", "--gpus", "2"), {}),
    "zero3-offload, 2 processes": (("--deepspeed", "zero3-offload", "--gpus", "2"), {}),
    "4 bits": (("--deepspeed", "none"), {"model__load_in": 4}),
    "8 bits, zero2": (("--deepspeed", "zero2"), {"model__load_in": 8}),
    "LoRA+ and whole matrices, zero3": (
        ("--deepspeed", "zero3"), {"lora__plus_ratio": 16, "lora__modules_to_save": BOTH},
    ),
    "DoRA, zero2": (("--deepspeed", "zero2"), {"lora__dora": "true"}),
    "embeddings": (("--deepspeed", "none"), {"training__method": "embeddings"}),
    "full, zero3": (("--deepspeed", "zero3"), {"training__method": "full"}),
    "bf16, zero2": (("--deepspeed", "zero2"), {"model__precision": "bf16"}),
    "AdamW in 8 bits": (("--deepspeed", "none"), {"training__optimizer": "adamw_8bit", "lora__rank": 64}),
    "packed, accumulated": (
        ("--deepspeed", "none"),
        {"training__packing": "true", "training__max_length": 256, "training__accumulation": 2},
    ),
    "options shuffled, several passes, zero2": (
        ("--deepspeed", "zero2"),
        {"training__shuffle_options": "true", "training__batch_size": 16, "training__accumulation": 2},
    ),
}  # fmt: skip


def trained(output: Path) -> bytes:
    (path,) = output.glob("*.safetensors")
    return path.read_bytes()


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_the_same_again_and_when_it_was_killed_between(
    name: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    words, changes = RUNS[name]
    for output in ("whole", "again"):
        code, _, err = trainings.fit(tiny_base, dataset, tmp_path / output, *words, **changes)
        assert code == 0, err
    assert trained(tmp_path / "whole") == trained(tmp_path / "again")
    cut = tmp_path / "cut"
    code, _, err = trainings.fit(tiny_base, dataset, cut, *words, fault="kill_after_step:3", **changes)
    assert code == 1
    assert "was killed" in err
    code, _, err = trainings.fit(tiny_base, dataset, cut, *words, "--resume", **changes)
    assert code == 0, err
    assert "going on from step 2" in err
    assert losses(cut) == losses(tmp_path / "whole")
    assert trained(cut) == trained(tmp_path / "whole")
    assert not cut.with_name("cut.checkpoints").exists()


@pytest.mark.parametrize("deepspeed", ["none", "zero2"])
def test_a_run_out_of_patience_ends_at_the_same_step_wherever_it_was_killed(
    deepspeed: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    words = ("--deepspeed", deepspeed)
    changes = {
        "training__steps": 12, "training__learning_rate": 1e-9, "evaluation__every": 1, "evaluation__patience": 2,
        "evaluation__rows": 1,
    }  # fmt: skip
    code, _, err = trainings.fit(tiny_base, dataset, tmp_path / "whole", *words, **changes)
    assert code == 0, err
    steps = len(losses(tmp_path / "whole"))
    assert f"stopping at step {steps}" in err
    assert 3 <= steps < 12
    for number, fault in enumerate(("kill_after_step:2", f"kill_after_step:{steps}", "kill_before_output")):
        cut = tmp_path / str(number)
        code, _, err = trainings.fit(tiny_base, dataset, cut, *words, fault=fault, **changes)
        assert code == 1, err
        code, _, err = trainings.fit(tiny_base, dataset, cut, *words, "--resume", **changes)
        assert code == 0, err
        assert f"stopping at step {steps}" in err
        assert losses(cut) == losses(tmp_path / "whole")
        assert trained(cut) == trained(tmp_path / "whole")


@pytest.mark.parametrize("deepspeed", ["none", "zero3"])
def test_killed_at_any_file_operation_a_run_comes_to_the_same_end(
    deepspeed: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    words = ("--deepspeed", deepspeed, "--set", "checkpoint.every=1", "--set", "checkpoint.keep=1")
    counted = tmp_path / "count"
    code, _, err = trainings.fit(
        tiny_base, dataset, tmp_path / "whole", *words, fault=f"count_file_operations:{counted}", evaluation__every=1
    )
    assert code == 0, err
    total = int(counted.read_text())
    assert total > 60
    steps = set()
    for number in sorted({1, total, *range(7, total, total // 9)}):
        output = tmp_path / str(number)
        code, _, err = trainings.fit(
            tiny_base, dataset, output, *words, fault=f"kill_at_file_operation:{number}", evaluation__every=1
        )
        assert code == 1, number
        assert "was killed" in err
        code, _, err = trainings.fit(tiny_base, dataset, output, *words, "--resume", evaluation__every=1)
        assert code == 0, (number, err)
        steps.add(next((line for line in err.splitlines() if "going on from" in line), "anew"))
        assert trained(output) == trained(tmp_path / "whole"), number
        assert losses(output) == losses(tmp_path / "whole")
        assert not list(tmp_path.glob(f"{number}.checkpoints")), number
        assert not list(tmp_path.glob(".*")), number
    assert len(steps) > 2


@pytest.fixture(scope="module")
def interrupted(
    tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output that a run under zero2 did not come to; its checkpoints stand."""
    output = tmp_path_factory.mktemp("interrupted") / "adapter"
    code, _, err = trainings.fit(tiny_base, dataset, output, "--deepspeed", "zero2", fault="kill_after_step:3")
    assert code == 1, err
    return output


@pytest.mark.parametrize(
    ("words", "changes", "reason"),
    [
        (("--deepspeed", "zero3"), {}, "deepspeed was zero2, now zero3"),
        (("--deepspeed", "none"), {}, "deepspeed was zero2, now none"),
        (("--deepspeed", "zero2", "--gpus", "2"), {}, "number of processes was 1, now 2"),
        (("--deepspeed", "zero2"), {"training__steps": 8}, "training.steps was 4, now 8"),
        (("--deepspeed", "zero2"), {"training__accumulation": 2}, "training.accumulation was 1, now 2"),
        (("--deepspeed", "zero2"), {"training__seed": 1}, "training.seed was 0, now 1"),
        (("--deepspeed", "zero2"), {"lora__plus_ratio": 16}, "lora.plus_ratio was 1.0, now 16.0"),
    ],
)
def test_another_run_is_not_gone_on_with(
    words: tuple[str, ...], changes: dict[str, object], reason: str, interrupted: Path, tiny_base: Path, dataset: Path,
    trainings: ForkServer,
) -> None:  # fmt: skip
    code, _, err = trainings.fit(tiny_base, dataset, interrupted, *words, "--resume", **changes)
    assert code == 2
    assert f"cannot resume: {reason}" in err


def test_checkpoints_of_another_run_are_refused_though_nothing_tells_of_it(
    interrupted: Path, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    work = tmp_path / "a.checkpoints"
    shutil.copytree(interrupted.with_name("adapter.checkpoints"), work)
    (work / "job.json").unlink()
    code, _, err = trainings.fit(
        tiny_base, dataset, tmp_path / "a", "--deepspeed", "zero2", "--resume", training__seed=1
    )
    assert code == 2
    assert "checkpoint-2 is of another run" in err


def test_no_part_of_a_checkpoint_can_be_missing_or_torn(interrupted: Path, tmp_path: Path) -> None:
    whole = interrupted.with_name("adapter.checkpoints") / "checkpoint-2"
    listed = set(json.loads((whole / "complete.json").read_text(encoding="utf-8"))["files"])
    files = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert listed == files - {"complete.json"}
    assert {"adapter_model.safetensors", "rng_state.pth", "best/best.json", "latest"} <= listed
    assert any(name.endswith("optim_states.pt") for name in listed)
    for name in sorted(files):
        content = (whole / name).read_bytes()
        flipped = bytes([content[0] ^ 1]) + content[1:]
        for damaged in (None, content[: len(content) // 2], flipped):
            copy = tmp_path / "checkpoint-2"
            shutil.copytree(whole, copy)
            (copy / name).unlink()
            if damaged is not None:
                (copy / name).write_bytes(damaged)
            assert checkpoints.newest_complete(tmp_path) == (None, [copy]), (name, damaged and len(damaged))
            shutil.rmtree(copy)


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        ("spoil_gradient:2", 1, "the gradient is not finite at step 2, rows "),
        ("spoil_validation", 1, "the loss on the validation rows is not a number at step "),
        ("mask_everything", 1, "nothing is trained at step 1, rows "),
        ("ask_for_a_petabyte", 3, "out of memory (try training.batch_size=1 with training.accumulation=2, or "),
        ("damage_first_checkpoint", 1, "checkpoint-0 does not read back as it was written"),
        ("fill_disk", 3, "and 3 checkpoints take 0.0 GB (free some space, or --set checkpoint.keep=1)"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_leaves_nothing(
    fault: str, code: int, told: str, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    found, _, err = trainings.fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", "none", fault=fault)
    assert (found, told in err) == (code, True), err
    if told.endswith("rows "):
        named = err.partition(told)[2].split()[0:2]
        ids = {json.loads(line)["id"] for line in (dataset / "train.jsonl").read_text(encoding="utf-8").splitlines()}
        assert {name.strip(",") for name in named} <= ids
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("deepspeed", ["none", "zero2", "zero3"])
def test_an_evaluation_on_the_way_changes_no_gradient_after_it(
    deepspeed: str, bits: int, tiny_base: Path, dataset: Path, trainings: ForkServer, tmp_path: Path
) -> None:
    for name, every in (("often", 1), ("once", 4)):
        code, _, err = trainings.fit(
            tiny_base, dataset, tmp_path / name, "--deepspeed", deepspeed,
            model__load_in=bits, evaluation__every=every, checkpoint__every=2,
        )  # fmt: skip
        assert code == 0, err
    often, once = (
        [line["grad_norm"] for line in records(tmp_path / name) if "loss" in line] for name in ("often", "once")
    )
    assert often == once
    assert losses(tmp_path / "often") == losses(tmp_path / "once")
    record = json.loads((tmp_path / "once" / "training.json").read_text(encoding="utf-8"))
    assert record["quantization"][f"load_in_{bits}bit"] is True
