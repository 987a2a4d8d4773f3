"""`trainer fit`: real trainings of a tiny model, through the launcher and without it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests import tiny
from tests.trainer.conftest import losses, records, run_fit, start_fit, weights


@pytest.fixture(scope="module")
def fitted(tiny_base: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter trained through the deepspeed launcher with zero2."""
    output = tmp_path_factory.mktemp("fitted") / "adapter"
    code, out, err = run_fit(tiny_base, dataset, output)
    assert code == 0, err
    assert "accuracy" in out
    return output


@pytest.fixture(scope="module")
def plain(tiny_base: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in plain torch."""
    output = tmp_path_factory.mktemp("plain") / "adapter"
    code, _, err = run_fit(tiny_base, dataset, output, "--deepspeed", "none")
    assert code == 0, err
    return output


def group_is_empty(text: str) -> bool:
    """Whether no living process has `text` in its command line."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_living = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            if is_living and text in (entry / "cmdline").read_text():
                return False
        except (OSError, IndexError):
            continue
    return True


def wait_until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_the_adapter_folder_holds_all_that_belongs_to_it(fitted: Path, tiny_base: Path, dataset: Path) -> None:
    assert not fitted.with_name("adapter.checkpoints").exists()
    assert (fitted / "tokenizer.model").read_bytes() == (tiny_base / "tokenizer.model").read_bytes()
    meta = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    assert (fitted / "prompt_format.toml").read_text(encoding="utf-8") == meta["formats"]
    assert "[INST]" in (fitted / "chat_template.jinja").read_text(encoding="utf-8")
    for name in ("loss", "accuracy", "learning_rate"):
        assert (fitted / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((fitted / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 6, "LORA")
    assert config["target_modules"] == sorted(config["target_modules"])
    assert len(config["target_modules"]) == 7
    assert config["base_model_name_or_path"] == str(tiny_base)


def test_the_adapter_is_f32_whole_and_trained(fitted: Path) -> None:
    tensors = load_file(fitted / "adapter_model.safetensors")
    assert len(tensors) == 2 * 7 * 2
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.float32"}
    assert all(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)


def test_training_json_tells_how_it_was_made(fitted: Path, dataset: Path) -> None:
    record = json.loads((fitted / "training.json").read_text(encoding="utf-8"))
    assert record["settings"]["training"]["steps"] == 4
    assert record["best_step"] in (2, 4)
    assert record["result"]["evaluation_rows"] == 12
    assert record["data"]["sha256"] == json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["sha256"]
    assert record["quantization"] is None
    assert record["versions"].keys() >= {"torch", "transformers", "peft", "deepspeed"}
    evaluated = [line for line in records(fitted) if "eval_accuracy" in line]
    assert [line["step"] for line in evaluated] == [2, 4]
    best = max(evaluated, key=lambda line: (line["eval_accuracy"], -line["eval_loss"]))
    assert best["step"] == record["best_step"]


def test_peft_opens_it(fitted: Path, tiny_base: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), fitted)
    assert model.peft_config["default"].r == 4


def test_the_same_command_again_does_nothing(fitted: Path, tiny_base: Path, dataset: Path) -> None:
    before = weights(fitted)
    code, _, err = run_fit(tiny_base, dataset, fitted)
    assert code == 0
    assert "already made" in err
    code, _, err = run_fit(tiny_base, dataset, fitted, training__seed=1)
    assert code == 2
    assert "--overwrite" in err
    assert weights(fitted) == before


@pytest.mark.slow
def test_deepspeed_and_plain_torch_agree(fitted: Path, plain: Path) -> None:
    assert losses(fitted) == pytest.approx(losses(plain), abs=1e-5)
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (fitted, plain))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("deepspeed", ["zero3", "zero3-offload", "zero1-offload", "zero2-offload"])
def test_every_zero_stage_agrees_with_plain_torch(
    deepspeed: str, tiny_base: Path, dataset: Path, plain: Path, tmp_path: Path
) -> None:
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", deepspeed)
    assert code == 0, err
    assert losses(tmp_path / "a") == pytest.approx(losses(plain), abs=1e-5)
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (tmp_path / "a", plain))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-5


@pytest.mark.slow
def test_one_by_eight_is_eight_by_one_is_two_processes(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    common = {"lora__dropout": 0, "training__group_by_length": "false"}
    for name, size, accumulation in (("a", 8, 1), ("b", 1, 8)):
        code, _, err = run_fit(
            tiny_base, dataset, tmp_path / name, "--deepspeed", "none",
            training__batch_size=size, training__accumulation=accumulation, **common,
        )  # fmt: skip
        assert code == 0, err
    code, _, err = run_fit(
        tiny_base, dataset, tmp_path / "c", "--gpus", 2, "--deepspeed", "zero3",
        training__batch_size=2, training__accumulation=2, **common,
    )  # fmt: skip
    assert code == 0, err
    whole = load_file(tmp_path / "a" / "adapter_model.safetensors")
    for name in "bc":
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "a"), abs=2e-6)
        parts = load_file(tmp_path / name / "adapter_model.safetensors")
        assert max(float((parts[key] - whole[key]).abs().max()) for key in whole) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("deepspeed", ["none", "zero2"])
def test_a_run_killed_and_resumed_is_the_run_that_was_not(
    deepspeed: str, tiny_base: Path, dataset: Path, fitted: Path, plain: Path, tmp_path: Path
) -> None:
    output, work = tmp_path / "a", tmp_path / "a.checkpoints"
    process = start_fit(tiny_base, dataset, output, "--deepspeed", deepspeed)
    wait_until(lambda: (work / "checkpoint-2" / "complete.json").is_file() or process.poll() is not None)
    process.kill()
    process.communicate()
    wait_until(lambda: group_is_empty(str(work)))
    assert not output.exists()
    code, _, err = run_fit(tiny_base, dataset, output, "--deepspeed", deepspeed)
    assert code == 2
    assert "--resume" in err
    code, _, err = run_fit(
        tiny_base, dataset, output, "--deepspeed", deepspeed, "--resume", training__learning_rate=5e-3
    )
    assert code == 2
    assert "training.learning_rate was 0.001, now 0.005" in err
    other = {"none": "zero2", "zero2": "zero3"}[deepspeed]
    code, _, err = run_fit(tiny_base, dataset, output, "--deepspeed", other, "--resume")
    assert code == 2
    assert f"deepspeed was {deepspeed}, now {other}" in err
    torn = work / "checkpoint-3"
    shutil.copytree(work / "checkpoint-2", torn)
    (torn / "complete.json").unlink()
    code, _, err = run_fit(tiny_base, dataset, output, "--deepspeed", deepspeed, "--resume")
    assert code == 0, err
    assert "checkpoint-3.torn" in err
    assert "going on from step 2" in err
    reference = {"none": plain, "zero2": fitted}[deepspeed]
    assert losses(output) == losses(reference)
    assert weights(output) == weights(reference)
    assert not work.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("words", [("none",), ("zero2",), ("zero3-offload", "--gpus", "2")], ids=str)
def test_an_interrupted_run_leaves_no_process_and_no_output(
    number: signal.Signals, code: int, words: tuple[str, ...], tiny_base: Path, dataset: Path, tmp_path: Path
) -> None:
    output, work = tmp_path / "a", tmp_path / "a.checkpoints"
    process = start_fit(tiny_base, dataset, output, "--deepspeed", *words, training__steps=5000, evaluation__every=5000)
    wait_until(lambda: (work / "metrics.jsonl").is_file() or process.poll() is not None)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert group_is_empty(str(work))
    assert not output.exists()
    assert not work.exists()
    assert err.splitlines()[-1].startswith("trainer: ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_while_the_training_process_starts_leaves_nothing(
    number: signal.Signals, code: int, tiny_base: Path, dataset: Path, tmp_path: Path
) -> None:
    before = f"""
import os, subprocess
class Interrupted(subprocess.Popen):
    def __init__(self, *args, **words):
        super().__init__(*args, **words)
        if words.get("start_new_session"):
            os.kill(os.getpid(), {int(number)})
subprocess.Popen = Interrupted
"""
    process = start_fit(tiny_base, dataset, tmp_path / "a", before=before)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert group_is_empty(str(tmp_path / "a.checkpoints"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_second_interruption_leaves_no_process_either(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    work = tmp_path / "a.checkpoints"
    process = start_fit(tiny_base, dataset, tmp_path / "a", "--gpus", "2", training__steps=5000)
    wait_until(lambda: (work / "metrics.jsonl").is_file() or process.poll() is not None)
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert group_is_empty(str(work))
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_an_interruption_before_training_leaves_nothing(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    process = start_fit(tiny_base, dataset, tmp_path / "a")
    wait_until(lambda: (tmp_path / "a.checkpoints" / "fit.log").is_file() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert group_is_empty(str(tmp_path / "a.checkpoints"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_sentence_of_the_training_process_is_passed_on(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    code, out, err = run_fit(tiny_base, dataset, tmp_path / "a", training__max_length=16)
    assert (code, out) == (2, "")
    assert "48 rows do not fit training.max_length = 16" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_unforeseen_error_is_told_and_its_log_kept(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"hidden_size": 32}), encoding="utf-8")
    code, _, err = run_fit(base, dataset, tmp_path / "a", "--deepspeed", "none")
    assert code == 1
    assert "RuntimeError" in err
    log = tmp_path / "a.checkpoints" / "fit.log"
    assert str(log) in err
    assert "Traceback" in log.read_text(encoding="utf-8")
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_rows(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file

    broken = tmp_path / "base"
    shutil.copytree(tiny_base, broken)
    tensors = load(broken / "model.safetensors")
    tensors["model.norm.weight"][:] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    code, _, err = run_fit(broken, dataset, tmp_path / "a", "--deepspeed", "none")
    assert code == 1
    assert "not finite at step 1, rows " in err
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_an_adapter_is_trained_further(tiny_base: Path, dataset: Path, plain: Path, tmp_path: Path) -> None:
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--init-adapter", plain, lora__rank=8)
    assert code == 2
    assert "--set 'lora.rank=4'" in err
    code, _, err = run_fit(
        tiny_base, dataset, tmp_path / "a", "--init-adapter", plain, "--deepspeed", "none", training__learning_rate=1e-9
    )
    assert code == 0, err
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (tmp_path / "a", plain))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"alpha_pattern": {"q_proj": 64}}, 'has alpha_pattern = {"q_proj": 64}'),
        ({"rank_pattern": {"q_proj": 2}}, "has rank_pattern"),
        ({"bias": "all"}, 'has bias = "all"'),
        ({"init_lora_weights": "pissa"}, 'has init_lora_weights = "pissa"'),
        ({"peft_type": "ADALORA"}, "is not the configuration of a LoRA adapter"),
        ({"target_modules": ".*q_proj"}, "does not list its target_modules"),
        ("{", "is not JSON"),
        ("[]", "is not the configuration of a LoRA adapter"),
    ],
)
def test_an_adapter_that_would_be_another_one_is_not_gone_on_with(
    change: dict[str, object] | str, told: str, tiny_base: Path, tiny_adapter: Path, dataset: Path, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    shutil.copytree(tiny_adapter, given)
    path = given / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(change if isinstance(change, str) else json.dumps(config | change), encoding="utf-8")
    fitting = {"lora__rank": config["r"], "lora__alpha": config["lora_alpha"]}
    code, _, err = run_fit(
        tiny_base, dataset, tmp_path / "a", "--init-adapter", given, "--deepspeed", "none", **fitting
    )
    assert code == 2
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_an_adapter_of_another_base_is_refused(dataset: Path, plain: Path, tmp_path: Path) -> None:
    other = tiny.base(tmp_path / "base", hidden=32)
    code, _, err = run_fit(other, dataset, tmp_path / "a", "--init-adapter", plain, "--deepspeed", "none")
    assert code == 2
    assert "is not one for" in err
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_without_validation_rows_the_last_adapter_is_taken(tiny_base: Path, sheet: Path, tmp_path: Path) -> None:
    assert tiny.run_cli("trainer.cli", "prepare", sheet, "--output", tmp_path / "d", "--validation", 0)[0] == 0
    code, _, err = run_fit(tiny_base, tmp_path / "d", tmp_path / "a", "--deepspeed", "none")
    assert code == 0, err
    record = json.loads((tmp_path / "a" / "training.json").read_text(encoding="utf-8"))
    assert (record["best_step"], record["result"]["accuracy"]) == (4, None)


def test_a_truncated_base_is_refused_before_anything_starts(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    broken = tmp_path / "base"
    shutil.copytree(tiny_base, broken)
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    code, _, err = run_fit(broken, dataset, tmp_path / "a")
    assert code == 1
    assert "its header says" in err
    path.write_bytes(path.read_bytes()[:50])
    code, _, err = run_fit(broken, dataset, tmp_path / "a")
    assert code == 1
    assert "not a whole safetensors file" in err


@pytest.mark.parametrize("model", ["no/such/base", "./nothing", "nothing"])
def test_a_base_that_is_not_there_is_said_at_once(model: str, dataset: Path, tmp_path: Path) -> None:
    code, _, err = run_fit(Path(model), dataset, tmp_path / "a")
    assert code == 2
    assert "does not exist" in err


def test_a_hub_id_that_cannot_be_had_is_one_sentence(dataset: Path, tmp_path: Path) -> None:
    code, _, err = run_fit(Path("nobody/nothing"), dataset, tmp_path / "a")
    assert code == 1
    assert err.count("\n") == 1
    assert "nobody/nothing" in err


def test_a_base_without_its_parts_is_refused(tiny_base: Path, fitted: Path, dataset: Path, tmp_path: Path) -> None:
    code, _, err = run_fit(fitted, dataset, tmp_path / "a")
    assert code == 2
    assert "this is an adapter" in err
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    (base / "tokenizer.model").unlink()
    code, _, err = run_fit(base, dataset, tmp_path / "a")
    assert code == 2
    assert "tokenizer.model" in err
    (base / "tokenizer.model").write_bytes(b"nothing of the kind")
    code, _, err = run_fit(base, dataset, tmp_path / "a")
    assert code == 2
    assert "not a SentencePiece model" in err


def test_a_dataset_that_was_changed_is_refused(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(dataset, data)
    with (data / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    code, _, err = run_fit(tiny_base, data, tmp_path / "a")
    assert code == 2
    assert "not the file that `trainer prepare` wrote" in err
    code, _, err = run_fit(tiny_base, tmp_path / "none", tmp_path / "a")
    assert code == 2
    assert "trainer prepare" in err


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (("--gpus", "0,2"), 3, "this machine has 0 GPUs"),
        (("--gpus", "two"), 2, "expected a count"),
        (("--gpus", "0"), 2, "at least one"),
        (("--gpus", "1000000"), 3, "no GPU, and"),
        (("--gpus", ","), 2, "expected a count"),
        (("--gpus", "2", "--deepspeed", "none"), 2, "one process"),
        (("--deepspeed", "zero9"), 2, "zero2"),
        (("--preset", "formossa"), 2, "alpaca2, formosa, formosa-zero3-offload, lab4, ner, tibetan-stage1"),
        (("--set", "lora.rankk=3"), 2, "lora.rank"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    more: tuple[str, ...], code: int, told: str, tiny_base: Path, dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("trainer.job.gpu_count", lambda: 0)
    found, out, err = run_fit(tiny_base, dataset, tmp_path / "a", *more)
    assert (found, out) == (code, "")
    assert told in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "words", "remedy"),
    [
        ("deepspeed", (), "or --deepspeed none"),
        ("bitsandbytes", ("--set", "model.load_in=4"), "or --set model.load_in=16"),
        ("bitsandbytes", ("--set", "training.optimizer=adamw_8bit"), "or --set training.optimizer=adamw"),
    ],
)
def test_a_machine_without_a_package_is_told_so(
    package: str, words: tuple[str, ...], remedy: str, tiny_base: Path, dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == package else find(name, *more))
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", *words)
    assert code == 3
    assert f"the package {package} is not installed" in err
    assert remedy in err
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_a_compiler_is_told_so(
    tiny_base: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a")
    assert code == 3
    assert "C++ compiler" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_build_lock_dies_with_its_process(tmp_path: Path) -> None:
    """torch's own is a file: left behind by a killed build, it would hold up every later start for ever."""
    from trainer.extensions import BuildLock

    path = tmp_path / "lock"
    program = (
        "import sys, time; from torch.utils import cpp_extension; from trainer import extensions\n"
        "extensions.use_locks_that_die_with_their_process()\n"
        "baton = cpp_extension.FileBaton(sys.argv[1]); assert baton.try_acquire(); print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    acquired = threading.Event()
    waiting = BuildLock(str(path))
    thread = threading.Thread(target=lambda: waiting.try_acquire() and acquired.set())
    thread.start()
    assert not acquired.wait(0.3)
    holder.kill()
    assert acquired.wait(30)
    holder.communicate()
    waiting.release()


@pytest.mark.parametrize(
    ("visible", "gpus", "cards"),
    [
        ("", "", ("0", "1")),
        ("5,7", "", ("5", "7")),
        ("5, 7", "1,", ("7",)),
        ("GPU-aa,GPU-bb", "2", ("GPU-aa", "GPU-bb")),
    ],
)
def test_cards_are_counted_among_those_that_are_visible(
    visible: str, gpus: str, cards: tuple[str, ...], tiny_base: Path, dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from trainer import fit
    from trainer.job import FitRequest, plan_job
    from trainer.settings import Settings

    monkeypatch.setattr("trainer.job.gpu_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    request = FitRequest(model=str(tiny_base), data=dataset, output=tmp_path / "a", settings=Settings(), gpus=gpus)
    job = plan_job(request)
    assert job is not None
    assert job.cards == cards
    seen: list[str] = []
    monkeypatch.setattr(fit, "_end_with_launcher", lambda: None)
    monkeypatch.setattr(fit, "run", lambda *_: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    (tmp_path / "job.json").write_text(job.model_dump_json(), encoding="utf-8")
    assert fit.main([str(tmp_path / "job.json")]) == 0
    assert seen == [",".join(cards)]


@pytest.mark.slow
def test_a_place_in_somebody_elses_job_is_not_taken_for_ones_own(
    tiny_base: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schedulers of jobs say RANK and WORLD_SIZE to every process: the training would wait for the others for ever."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PMI_SIZE", "2")
    code, _, err = run_fit(tiny_base, dataset, tmp_path / "a", "--deepspeed", "none")
    assert code == 0, err


def test_two_runs_do_not_share_an_output(tiny_base: Path, dataset: Path, tmp_path: Path) -> None:
    import fcntl

    work = tmp_path / "a.checkpoints"
    work.mkdir()
    with (work / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err = run_fit(tiny_base, dataset, tmp_path / "a")
    assert code == 2
    assert "another `trainer fit`" in err


def test_help_is_light() -> None:
    program = "import sys, trainer.cli as c; c.build_parser().format_help(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "transformers", "peft", "deepspeed", "pydantic"} & set(modules)
    assert tiny.run_cli("trainer.cli", "fit", "--help")[0] == 0
