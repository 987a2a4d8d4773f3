"""The adapter or model folder: written aside, opened again and checked, then named."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import PreTrainedModel

from configs.atomic import staged_folder
from configs.formats import FORMAT_FILE
from trainer import adapter, metrics
from trainer.base import base_identity
from trainer.datasets.folder import Dataset, read_meta
from trainer.evaluation import Answered
from trainer.job import TOKENIZER_FILES, TRAINING_FILE, Job
from trainer.loop import BEST_FILE
from trainer.model import quantization, trainable_parameters
from trainer.model_card import model_card
from trainer.model_folder import write_model
from trainer.trackers import TRACKER_FOLDERS
from trainer.validation_report import validation_report
from trainer.work import BEST_FOLDER, METRICS_FILE

_PACKAGES = ("lora2edge", "torch", "transformers", "peft", "deepspeed", "accelerate", "bitsandbytes", "sentencepiece")


@dataclass(frozen=True, slots=True)
class Finish:
    """What a run leaves to tell."""

    job: Job
    dataset: Dataset
    steps: int
    truncated: int
    train_rows: int
    loss: float
    compute: str
    seconds: float
    memory: int
    """Most bytes that the first process held: on its GPU, or in all."""
    memory_before: int
    """Bytes it held before the model; 0 on a GPU."""
    tokens_per_second: float


def write_output(finish: Finish, model: PeftModel | PreTrainedModel) -> None:
    """Write the best adapter, or the model with its best weights, and all that belongs to it; nothing takes the final
    name before it is checked.

    Raises:
        ToolError: what was trained is not whole, not finite or untrained.
    """
    job = finish.job
    best = json.loads((job.work / BEST_FOLDER / BEST_FILE).read_text(encoding="utf-8"))
    with staged_folder(job.output) as folder:
        trained = job.work / BEST_FOLDER / adapter.WEIGHTS_FILE
        if isinstance(model, PeftModel):
            trained = Path(shutil.copyfile(trained, folder / adapter.WEIGHTS_FILE))
            _write_config(folder, model)
        adapter.check_weights(trained, adapter.expected_shapes(model))
        if not isinstance(model, PeftModel):
            write_model(job.base, load_file(trained), folder)
        for name in TOKENIZER_FILES:
            if (job.base / name).is_file():
                shutil.copyfile(job.base / name, folder / name)
        _write(folder / "chat_template.jinja", finish.dataset.formats.prompt.chat_template)
        _write(folder / FORMAT_FILE, finish.dataset.formats.to_toml())
        record = _record(finish, model, best)
        _write(folder / TRAINING_FILE, json.dumps(record, ensure_ascii=False, indent=2) + "\n")
        card = model_card(record, job.base_name, read_meta(job.data), job.settings.flat())
        _write(folder / "README.md", card)
        shutil.copyfile(job.work / METRICS_FILE, folder / METRICS_FILE)
        metrics.draw_plots(metrics.read(folder / METRICS_FILE), folder / "plots")
        for name in TRACKER_FOLDERS:
            if (job.work / name).is_dir():
                shutil.copytree(job.work / name, folder / name, ignore=_links)


def _links(folder: str, names: list[str]) -> list[str]:
    """What of a folder is a link: wandb's lead to where its run was written."""
    return [name for name in names if Path(folder, name).is_symlink()]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_config(folder: Path, model: PeftModel) -> None:
    """adapter_config.json as PEFT writes it, with its set of targets in a fixed order."""
    config = model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(str(folder))
    path = folder / adapter.CONFIG_FILE
    written = json.loads(path.read_text(encoding="utf-8"))
    for key in ("target_modules", "modules_to_save"):
        written[key] = written[key] and sorted(written[key])
    _write(path, json.dumps(written, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def _record(finish: Finish, model: PeftModel | PreTrainedModel, best: dict[str, Any]) -> dict[str, Any]:
    job = finish.job
    compute: torch.dtype = getattr(torch, finish.compute.removeprefix("torch."))
    return {
        "fingerprint": job.fingerprint,
        "settings": job.settings.model_dump(mode="json"),
        "seed": job.settings.training.seed,
        "best_step": best["step"],
        "result": {
            "steps": finish.steps,
            "accuracy": best["accuracy"],
            "evaluation_rows": best["rows"],
            "validation": validation_report([Answered(*row) for row in best["answered"]]),
            "perplexity": best["perplexity"],
            "token_accuracy": best["token_accuracy"],
            "token_rows": best["token_rows"],
            "last_loss": finish.loss,
            "train_rows": finish.train_rows,
            "truncated_rows": finish.truncated,
            "trainable_parameters": trainable_parameters(model),
            "seconds": round(finish.seconds, 1),
            "tokens_per_second": round(finish.tokens_per_second, 1),
            "peak_memory": finish.memory,
            "memory_before_model": finish.memory_before,
        },
        "base": base_identity(job.base),
        "init_adapter": job.init_adapter.name if job.init_adapter else None,
        "data": {"name": job.data.name, "sha256": finish.dataset.sha256},
        "quantization": quantization(job.settings.model, compute),
        "compute_type": finish.compute.removeprefix("torch."),
        "deepspeed": job.deepspeed,
        "processes": job.processes,
        "device": "gpu" if job.gpus else "cpu",
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
