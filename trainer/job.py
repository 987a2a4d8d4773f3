"""A training run, planned and checked before anything heavy is loaded; passed to the training process as JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from configs.atomic import output_is_done, sha256_file, sha256_text
from configs.errors import ConfigError, MachineError, ToolError
from configs.formats import FORMAT_FILE
from trainer.base import base_identity, check_base, check_safetensors, read_config, resolve, weight_files
from trainer.combinations import check_combination
from trainer.datasets.folder import dataset_sha256, read_meta
from trainer.hosts import Hosts, gpu_numbers, read_hostfile
from trainer.settings import Settings
from trainer.trackers import TRACKER_FOLDERS
from trainer.work import JOB_FILE, METRICS_FILE, has_checkpoints
from trainer.zero import deepspeed_config

TRAINING_FILE = "training.json"
WEIGHTS_FILE = "adapter_model.safetensors"
TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
)
FIT_FILES = (
    "adapter_config.json",
    WEIGHTS_FILE,
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    TRAINING_FILE,
    METRICS_FILE,
    FORMAT_FILE,
    "chat_template.jinja",
    "README.md",
    "plots/*.png",
    "LICENSE*",
    "USE_POLICY*",
    *(f"{folder}/*" for folder in TRACKER_FOLDERS),
    *TOKENIZER_FILES,
)
"""What `trainer fit` writes into an adapter folder, or into the folder of a model whose own weights it trained."""


_NOT_GONE_ON_WITH = (
    "alpha_pattern", "rank_pattern", "bias", "lora_bias", "layers_to_transform", "layer_replication", "exclude_modules",
    "trainable_token_indices", "target_parameters", "alora_invocation_tokens", "arrow_config", "kasa_config",
    "velora_config", "monteclora_config", "use_bdlora", "use_qalora",
)  # fmt: skip
"""What adapters of others may have and the settings cannot say: gone on without, it would be another adapter."""
_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
"""Ways to initialize an adapter that leave its base as it is."""
_SPLITS = ("deepspeed", "DeepSpeed configuration", "number of processes")
"""What decides how the optimizer's state lies in a checkpoint."""


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What `trainer fit` was told."""

    model: str
    data: Path
    output: Path
    settings: Settings
    init_adapter: str = ""
    gpus: str = ""
    hostfile: Path | None = None
    resume: bool = False
    report_to: tuple[str, ...] = ()
    """Other programs that get the metrics."""
    overwrite: bool = False


class Job(BaseModel):
    """Everything the training process needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: Path
    base_name: str
    """The base as the user gave it, for adapter_config.json."""
    data: Path
    output: Path
    work: Path
    """Folder of checkpoints, metrics and log, beside the output; it goes when the adapter stands."""
    init_adapter: Path | None
    settings: Settings
    deepspeed: dict[str, Any] | None
    """The DeepSpeed configuration; None trains with plain torch."""
    processes: int
    gpus: tuple[int, ...]
    """Devices of the processes, counted among those that this process sees; empty on a CPU."""
    cards: tuple[str, ...] = ()
    """The same devices by the names that CUDA_VISIBLE_DEVICES has for them; empty on a CPU, and on many machines."""
    hostfile: Path | None = None
    hosts: Hosts = ()
    """The machines of a hostfile; empty on this one alone."""
    identity: dict[str, Any]
    """What must be the same for a run to be resumed, by name."""
    resume: bool
    report_to: tuple[str, ...] = ()
    """Other programs that get the metrics."""

    @property
    def fingerprint(self) -> str:
        """Hash of all inputs of the adapter."""
        return sha256_text(json.dumps(self.identity, sort_keys=True))

    @property
    def zero_stage(self) -> int:
        """DeepSpeed's ZeRO stage; 0 without DeepSpeed."""
        return int(((self.deepspeed or {}).get("zero_optimization") or {}).get("stage", 0))

    @property
    def rows_per_step(self) -> int:
        """Rows in one optimizer step, over all processes."""
        training = self.settings.training
        return training.batch_size * training.accumulation * self.processes


def plan_job(request: FitRequest) -> Job | None:
    """Check everything that can be checked without torch; None where the adapter stands there already.

    Raises:
        ConfigError: a missing or damaged input, settings that exclude each other, an output or an interrupted run
            that is not to be replaced.
        MachineError: a GPU that this machine does not have.
    """
    base = resolve(request.model, "base model")
    check_base(base)
    meta = read_meta(request.data)
    data_sha256 = dataset_sha256(request.data, meta)
    init_adapter = _checked_adapter(request) if request.init_adapter else None
    hosts = read_hostfile(request.hostfile, request.gpus) if request.hostfile else ()
    if hosts and request.settings.deepspeed == "none":
        raise ConfigError("--deepspeed none trains in one process, not on many machines", hint="use --deepspeed zero2")
    if hosts:
        processes = sum(len(numbers) for _, numbers in hosts)
        gpus = tuple(number for _, numbers in hosts for number in numbers) if gpu_count() else ()
    else:
        processes, gpus = devices(request.gpus, request.settings.deepspeed)
    deepspeed = deepspeed_config(request.settings.deepspeed, request.settings, on_gpu=bool(gpus))
    check_combination(
        request.settings, deepspeed, on_gpu=bool(gpus), is_tied=bool(read_config(base).get("tie_word_embeddings")),
        continues_adapter=bool(init_adapter),
    )  # fmt: skip
    _check_packages(request.settings, deepspeed)
    identity = {
        **{key: value for key, value in request.settings.flat().items() if not key.startswith("checkpoint.")},
        "data": data_sha256,
        "base model": base_identity(base)["sha256"],
        "initial adapter": sha256_file(init_adapter / WEIGHTS_FILE) if init_adapter else "",
        "DeepSpeed configuration": sha256_text(json.dumps(deepspeed, sort_keys=True)),
        "number of processes": processes,
        "device": "gpu" if gpus else "cpu",
    }
    job = Job(
        base=base.absolute(),
        base_name=request.model,
        data=request.data.absolute(),
        output=request.output.absolute(),
        work=request.output.absolute().with_name(request.output.absolute().name + ".checkpoints"),
        init_adapter=init_adapter.absolute() if init_adapter else None,
        settings=request.settings,
        deepspeed=deepspeed,
        processes=processes,
        gpus=gpus,
        cards=() if hosts else _cards(gpus, os.environ.get("CUDA_VISIBLE_DEVICES")),
        hostfile=request.hostfile.absolute() if request.hostfile else None,
        hosts=hosts,
        identity=identity,
        resume=request.resume,
        report_to=request.report_to,
    )
    recorded = _recorded(job.output)
    if output_is_done(
        job.output, recorded=recorded, wanted=job.fingerprint, overwrite=request.overwrite, own=FIT_FILES
    ):
        _discard_work(job)
        return None
    _check_work(job, overwrite=request.overwrite)
    return job


def _check_packages(settings: Settings, deepspeed: dict[str, Any] | None) -> None:
    """Refuse what takes a package that is not there; some machines have no wheel of these two."""
    for package, is_needed, remedy in (
        ("deepspeed", deepspeed is not None, "--deepspeed none"),
        ("bitsandbytes", settings.model.load_in != 16, "--set model.load_in=16"),
        ("bitsandbytes", settings.training.optimizer not in ("adamw", "cpu_adam"), "--set training.optimizer=adamw"),
    ):
        if is_needed and importlib.util.find_spec(package) is None:
            raise MachineError(
                f"the package {package} is not installed", hint=f"pip install 'lora2edge[train]', or {remedy}"
            )


def devices(gpus: str, deepspeed: str) -> tuple[int, tuple[int, ...]]:
    """(number of processes, GPU of each) for `--gpus`: a count, a list such as `0,2`, or nothing for all there are."""
    available = gpu_count()
    plain = deepspeed == "none"
    numbers = gpu_numbers(gpus)
    if "," in gpus:
        if missing := [number for number in numbers if not 0 <= number < available]:
            raise MachineError(f"--gpus {gpus}: this machine has {available} GPUs, none numbered {missing[0]}")
        chosen, processes = tuple(dict.fromkeys(numbers)), len(set(numbers))
    else:
        processes = numbers[0] if numbers else (1 if plain else max(1, available))
        if processes < 1:
            raise ConfigError(f"--gpus {gpus}: at least one is needed")
        if available and processes > available:
            raise MachineError(f"--gpus {gpus}: this machine has {available} GPUs")
        # Two always may: that shows on any machine what several processes do.
        if not available and processes > max(2, cores := len(os.sched_getaffinity(0))):
            raise MachineError(f"--gpus {gpus}: this machine has no GPU, and {cores} processor cores for the processes")
        chosen = tuple(range(processes)) if available else ()
    if plain and processes > 1:
        raise ConfigError(f"--deepspeed none trains in one process, not {processes}", hint="use --deepspeed zero2")
    return processes, chosen


def _cards(gpus: Sequence[int], visible: str | None) -> tuple[str, ...]:
    """Names of devices for the processes, which count anew: number 0 of those that CUDA_VISIBLE_DEVICES lets us see may
    be any."""
    names = [name.strip() for name in visible.split(",")] if visible else None
    return tuple(names[number] if names else str(number) for number in gpus)


def gpu_count() -> int:
    """Number of GPUs that torch sees; torch is asked, in a child, only where the system shows a GPU at all."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/kfd").exists():
        return 0
    counted = subprocess.run(
        [sys.executable, "-P", "-c", "import torch; print(torch.cuda.device_count())"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return int(counted.stdout) if counted.returncode == 0 else 0


def _checked_adapter(request: FitRequest) -> Path:
    """The adapter to train further; its shape must be the one the settings ask for."""
    folder = resolve(request.init_adapter, "adapter")
    weights = folder / WEIGHTS_FILE
    if not weights.is_file() or not (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{folder} is not an adapter folder with adapter_model.safetensors")
    check_safetensors(weights)
    config = _adapter_config(folder / "adapter_config.json")
    lora = request.settings.lora
    for key, found, asked in (
        ("lora.rank", config.get("r"), lora.rank),
        ("lora.alpha", config.get("lora_alpha"), lora.alpha),
        ("lora.targets", sorted(config.get("target_modules") or []), sorted(lora.targets)),
        ("lora.rslora", bool(config.get("use_rslora")), lora.rslora),
        ("lora.dora", bool(config.get("use_dora")), lora.dora),
        ("lora.modules_to_save", sorted(config.get("modules_to_save") or []), sorted(lora.modules_to_save)),
    ):
        if found != asked:
            raise ConfigError(
                f"the adapter {folder} has {key} = {found}, the settings say {asked}",
                hint=f"--set '{key}={json.dumps(found)}'",
            )
    return folder


def _adapter_config(path: Path) -> dict[str, Any]:
    """The configuration of an adapter that can be gone on with: one scale and one rank, over the base as it is."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ConfigError(f"{path} is not the configuration of a LoRA adapter")
    if not isinstance(config.get("target_modules"), list):
        raise ConfigError(f"{path} does not list its target_modules", hint="write their names instead of a pattern")
    init = config.get("init_lora_weights", True)
    names = [*_NOT_GONE_ON_WITH, *(["init_lora_weights"] if init not in _INITS else [])]
    if odd := [name for name in names if config.get(name) and config[name] != "none"]:
        raise ConfigError(
            f"the adapter {path.parent} has {odd[0]} = {json.dumps(config[odd[0]])}, with which it cannot be trained "
            "further",
            hint="merge it into the base (exporter merge --format huggingface) and train a new one",
        )
    return config


def _recorded(output: Path) -> str | None:
    try:
        record = json.loads((output / TRAINING_FILE).read_text(encoding="utf-8"))
        is_adapter = (output / WEIGHTS_FILE).is_file()
        for path in [output / WEIGHTS_FILE] if is_adapter else weight_files(output):
            check_safetensors(path)
        return str(record["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, ToolError):
        return None


def _discard_work(job: Job) -> None:
    """Remove what a run left that was killed when its output stood already."""
    try:
        before = Job.model_validate_json((job.work / JOB_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if before.fingerprint == job.fingerprint:
        shutil.rmtree(job.work, ignore_errors=True)


def _check_work(job: Job, *, overwrite: bool) -> None:
    """Refuse to resume another run, or to throw one away unasked."""
    if job.resume:
        _check_same_run(job)
        return
    if has_checkpoints(job.work) and not overwrite:
        raise ConfigError(
            f"{job.work} holds the checkpoints of an interrupted run",
            hint="--resume goes on from them, --overwrite starts anew",
        )


def _check_same_run(job: Job) -> None:
    path = job.work / JOB_FILE
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["identity"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged", hint="--overwrite starts anew, without --resume") from error
    for key, value in job.identity.items():
        if before.get(key) != value:
            told = f"{before.get(key)}, now {value}" if len(str(value)) < 60 else "another one"
            why = "the optimizer's state is split by it" if key in _SPLITS else "it would not be the same run"
            raise ConfigError(
                f"cannot resume: {key} was {told}, and {why}", hint="give the old one, or --overwrite without --resume"
            )
