"""The training process: `python -m trainer.fit JOB.json`, one a rank. Started by `trainer.launch`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import ConfigError, MachineError, ToolError
from trainer.extensions import use_locks_that_die_with_their_process
from trainer.hosts import end_without_beat
from trainer.job import Job
from trainer.memory_advice import memory_advice
from trainer.work import Reporter

if TYPE_CHECKING:
    import torch
    from transformers import TrainingArguments

    from trainer.examples import Example
    from trainer.loop import FitTrainer


def main(argv: Sequence[str] | None = None) -> int:
    """Train one job; what fails is left as a sentence for the launcher."""
    parser = argparse.ArgumentParser(prog="trainer.fit")
    parser.add_argument("job", type=Path)
    parser.add_argument("--local_rank", type=int, help="given by launchers; the environment says the same")
    args = parser.parse_args(argv)
    job = Job.model_validate_json(args.job.read_text(encoding="utf-8"))
    if job.cards:  # before torch looks; DeepSpeed's launcher counts all cards of the machine
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(job.cards)
    if job.hosts:
        end_without_beat(job.work)
    else:
        _end_with_launcher()
    reporter = Reporter(job.work)
    try:
        run(job, reporter)
    except Exception as error:  # noqa: BLE001  the edge of this process
        # On a full disk neither can be written: the launcher sees the disk for itself.
        with contextlib.suppress(OSError):
            traceback.print_exc()
        known = _as_tool_error(error, job)
        with contextlib.suppress(OSError):
            if known:
                reporter.error(known)
        return 1
    return 0


def _end_with_launcher() -> None:
    """Leave when standard input closes: it is a pipe that `trainer fit` holds as long as it lives."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _as_tool_error(error: Exception, job: Job) -> ToolError | None:
    """The sentence for an error we know; None for one that only its traceback explains, which stays in the log."""
    if isinstance(error, ToolError):
        return error
    is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if is_full or "No space left on device" in str(error):
        return MachineError("the disk is full", hint="free some space and run the same command again")
    if _is_out_of_memory(error):
        advice = memory_advice(job.settings, job.settings.deepspeed, on_gpu=bool(job.gpus))
        return MachineError(f"out of memory{' on the GPU' if job.gpus else ''}", hint=advice)
    return None


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a type for a full card; for the host's memory a RuntimeError of its CPU allocator, or of a file that
    could not be mapped."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error)
        for words in ("can't allocate memory", "Cannot allocate memory", "not enough memory", "CUDA out of memory")
    )


def run(job: Job, reporter: Reporter) -> None:
    """Read, encode, load, train, write."""
    from trainer.datasets.folder import read_dataset
    from trainer.evaluation import make_probes
    from trainer.examples import encode_rows, tokens_file
    from trainer.finish import Finish, write_output
    from trainer.loop import FitTrainer
    from trainer.memory import resident
    from trainer.model import load_model, trainable_parameters
    from trainer.option_shuffle import ShuffledExamples, in_turns
    from trainer.order import lay_out
    from trainer.perplexity import rows_to_score
    from trainer.tokenizer import SentencePieceTokenizer
    from trainer.zero import check_with_deepspeed

    started = time.monotonic()
    if job.deepspeed is not None:
        use_locks_that_die_with_their_process()
        check_with_deepspeed(job.deepspeed, job.settings.deepspeed)
    settings = job.settings
    training = settings.training
    dataset = read_dataset(job.data)
    tokenizer = SentencePieceTokenizer.from_folder(job.base)
    examples, validation = (
        encode_rows(
            rows,
            dataset.formats,
            tokenizer,
            training.max_length,
            tokens_file(job.data, job.work, rows, tokenizer),
            explanations=training.explanations,
        )
        for rows in (dataset.train, dataset.validation)
    )
    truncated = sum(example.truncated for example in (*examples, *validation))
    if truncated:
        reporter.say(
            f"{truncated} rows lost the end of their passage, or their last turns, to "
            f"training.max_length = {training.max_length}"
        )
    probes = make_probes(validation, dataset.formats, tokenizer, settings.evaluation.rows, training.seed)
    others = rows_to_score(validation, settings.evaluation.rows, training.seed)
    order = lay_out([len(example.ids) for example in examples], training, job.rows_per_step)
    compute, args = training_arguments(job, order.steps)
    before = 0 if job.gpus else resident()
    model = load_model(job, compute, args.device)
    packed = f" in {order.per_pass:,} sequences" if training.packing else ""
    reporter.say(
        f"{len(examples):,} rows{packed}, {order.steps:,} steps of {job.rows_per_step}, "
        f"{len(probes):,} validation questions, {len(others):,} other validation rows; "
        f"{trainable_parameters(model):,} parameters to train"
    )
    rows: Sequence[Example] = examples
    if training.shuffle_options:
        rows = ShuffledExamples(
            examples, dataset.formats, tokenizer, max_length=training.max_length, seed=training.seed
        )
        order = replace(order, sequences=in_turns(order.sequences, len(examples)))
    trainer = FitTrainer(
        job=job, model=model, args=args, order=order, examples=rows, probes=probes, others=others,
        padding_id=tokenizer.padding_id, reporter=reporter,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=_checkpoint_to_resume(trainer))
    trainer.close_trackers()
    if reporter.is_first:
        finish = Finish(
            job=job, dataset=dataset, steps=trainer.state.global_step, truncated=truncated, loss=trainer.last_loss,
            compute=str(compute), train_rows=len(examples), seconds=time.monotonic() - started,
            memory=trainer.peak_memory(), memory_before=before, tokens_per_second=trainer.tokens_per_second(),
        )  # fmt: skip
        write_output(finish, model)


def training_arguments(job: Job, steps: int) -> tuple[torch.dtype, TrainingArguments]:
    """(number type, arguments of Trainer). Under ZeRO-3 these must be made before the model is loaded."""
    import torch
    from transformers import TrainingArguments

    from trainer.model import compute_type

    training = job.settings.training
    compute = compute_type(job.settings.model, on_gpu=bool(job.gpus))
    args = TrainingArguments(
        output_dir=str(job.work),
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        max_steps=steps,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=_optimizer_name(job),
        seed=training.seed,
        bf16=compute is torch.bfloat16,
        fp16=compute is torch.float16,
        use_cpu=not job.gpus,
        deepspeed=job.deepspeed,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataloader_pin_memory=bool(job.gpus),
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    if job.deepspeed is not None and not job.gpus:
        _join_deepspeed(args)
    return compute, args


def _optimizer_name(job: Job) -> str:
    """Trainer's word for the optimizer; `cpu_adam` is not made by Trainer."""
    training = job.settings.training
    if training.optimizer not in ("adamw", "cpu_adam"):
        return training.optimizer
    is_fused = training.fused == "on" or (training.fused == "auto" and bool(job.gpus))
    return "adamw_torch_fused" if is_fused and training.optimizer == "adamw" else "adamw_torch"


def _join_deepspeed(args: TrainingArguments) -> None:
    """Make DeepSpeed join the process group that Trainer makes on a CPU: ZeRO-3 splits the model while it loads, and
    would take itself for alone."""
    import deepspeed

    assert args.device.type == "cpu"  # asking for the device makes the process group
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)


def _checkpoint_to_resume(trainer: FitTrainer) -> str | None:
    """The newest whole checkpoint; rank 0 renames the torn ones, then all ranks look at what is left."""
    from trainer import checkpoints, metrics
    from trainer.work import METRICS_FILE

    job, reporter = trainer.job, trainer.reporter
    if not job.resume:
        return None
    if reporter.is_first:
        for torn in checkpoints.newest_complete(job.work)[1]:
            reporter.say(f"{torn.name} was not written whole; it is now {checkpoints.set_aside(torn).name}")
    trainer.accelerator.wait_for_everyone()
    folder = checkpoints.newest_complete(job.work)[0]
    step = checkpoints.step_of(folder) if folder else 0
    if reporter.is_first:
        reporter.say(f"going on from step {step}" if folder else "no whole checkpoint: starting from the first step")
        metrics.truncate(job.work / METRICS_FILE, step)
        checkpoints.restore_best(job.work, folder)
    marker = checkpoints.read_marker(folder) if folder else None
    if marker:
        if marker["state"].get("run") != job.fingerprint:
            raise ConfigError(f"{folder} is of another run", hint="--overwrite starts anew, without --resume")
        best = marker["state"]["best_score"]
        trainer.best_score = (best[0], best[1]) if best else None
        trainer.best_step = marker["state"]["best_step"]
    trainer.accelerator.wait_for_everyone()
    return str(folder) if folder else None


if __name__ == "__main__":
    sys.exit(main())
