"""The training loop: transformers' Trainer, with its loss, order, schedule, evaluation and checkpoints replaced.

What is kept of it is the part that is hard to get right: DeepSpeed, accumulation, mixed precision, clipping.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, Trainer, TrainingArguments

from configs.atomic import staged_file, write_json
from configs.errors import ToolError
from trainer import adapter, checkpoints, memory, metrics
from trainer.batches import Collator, Sequences
from trainer.evaluation import Probe, Score, evaluate
from trainer.examples import IGNORED, Example
from trainer.job import Job
from trainer.optimizer import make_optimizer
from trainer.order import RunOrder
from trainer.pace import Pace
from trainer.perplexity import TokenScore, score_tokens
from trainer.rehearsal import Rehearsal
from trainer.rhythm import Conductor, Rhythm
from trainer.schedule import rate_share
from trainer.target_loss import TargetLoss
from trainer.trackers import Tracker, open_trackers
from trainer.work import BEST_FOLDER, CHECKPOINT_PREFIX, METRICS_FILE, Reporter

BEST_FILE = "best.json"
_REPORT_SECONDS = 0.2


class FitTrainer(Trainer):  # type: ignore[misc]
    """Trains one job. All ranks run it; rank 0 writes."""

    def __init__(
        self,
        *,
        job: Job,
        model: PeftModel | PreTrainedModel,
        args: TrainingArguments,
        order: RunOrder,
        examples: Sequence[Example],
        probes: Sequence[Probe],
        others: Sequence[Example],
        padding_id: int,
        reporter: Reporter,
    ) -> None:
        self.job = job
        self.rhythm = Rhythm.of(job, args.max_steps)
        self.examples = examples
        self._per_pass = order.per_pass
        self.probes = probes
        self.others = others
        self.padding_id = padding_id
        self.reporter = reporter
        self.optimizer: torch.optim.Optimizer | None = None
        self.lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
        self.best_score: tuple[float, float] | None = None
        self.best_step = 0
        self.last_score: Score | None = None
        self.last_tokens: TokenScore | None = None
        self.last_loss = float("nan")
        self._rows_of_step: list[int] = []
        self._target_loss = TargetLoss(model)
        self._reported_at = 0.0
        self._started = time.monotonic()
        self.pace = Pace()
        self._trackers: list[Tracker] | None = None
        by_flash = model.config._attn_implementation == "flash_attention_2"
        super().__init__(
            model=model, args=args, train_dataset=Sequences(order.sequences),
            data_collator=Collator(examples, padding_id, in_one_line=by_flash),
            callbacks=[Conductor(self.rhythm), Rehearsal(self)],
        )  # fmt: skip
        # Our loss divides by all trained tokens of the step, over passes and ranks (see compute_loss).
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True

    # -- loss -------------------------------------------------------------------------------------------------------

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Cross entropy over the trained positions alone: sum / (trained tokens of the whole step).

        Raises:
            ToolError: the loss is not finite, or nothing in the batch is trained; the rows are named.
        """
        items = num_items_in_batch if num_items_in_batch is not None else (inputs["labels"] != IGNORED).sum()
        self._rows_of_step += inputs["rows"].tolist()
        if not items:
            raise ToolError(f"nothing is trained at step {self.state.global_step + 1}, rows {self._named()}")
        positions = {"position_ids": inputs["position_ids"]} if "position_ids" in inputs else {}
        self.pace.count(sum(len(self.examples[row].ids) for row in inputs["rows"].tolist()))
        loss = self._target_loss(model, inputs["input_ids"], inputs["labels"], **positions) / items
        if not torch.isfinite(loss):
            raise ToolError(
                f"the loss is not finite at step {self.state.global_step + 1}, rows {self._named()}",
                hint="lower training.learning_rate",
            )
        # DeepSpeed and DDP average gradients over ranks, where the sum is wanted.
        return loss * self.accelerator.num_processes

    def _named(self) -> str:
        """The rows of this step so far, on this rank; of the last batch where they are many."""
        return ", ".join(self.examples[row].id for row in self._rows_of_step[-5:])

    def _check_gradient(self, norm: float | None) -> None:
        """Refuse a step whose gradient was not finite: every weight is by now. (In f16 such a step is left out.)"""
        if norm is not None and not math.isfinite(norm) and not self.args.fp16:
            raise ToolError(
                f"the gradient is not finite at step {self.state.global_step}, rows {self._named()}",
                hint="lower training.learning_rate, or leave those rows out",
            )
        self._rows_of_step.clear()

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted."""
        return 0

    # -- optimizer and schedule -------------------------------------------------------------------------------------

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The settings' own optimizer. (An object given to Trainer would be dropped under DeepSpeed.)"""
        if self.optimizer is None:
            self.optimizer = make_optimizer(model or self.model, self.args, self.job.settings)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The settings' own schedule. (An object given to Trainer would be dropped under DeepSpeed.)"""
        if self.lr_scheduler is None:
            training = self.job.settings.training
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: rate_share(step, num_training_steps, training)
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    # -- evaluation -------------------------------------------------------------------------------------------------

    def evaluate(self, *_args: Any, **_kwargs: Any) -> dict[str, float]:
        """Exam accuracy on the probes, loss on other validation rows; a new best adapter is put aside."""
        how: dict[str, Any] = {
            "batch_size": self.job.settings.evaluation.batch_size,
            "padding_id": self.padding_id,
            "device": self.args.device,
        }
        with self.pace.paused():
            return self._evaluated(how)

    def _evaluated(self, how: dict[str, Any]) -> dict[str, float]:
        record: dict[str, float] = {}
        score = evaluate(self.model_wrapped, self.probes, **how) if self.probes else None
        if score:
            record |= {"eval_accuracy": score.accuracy, "eval_loss": score.loss, "eval_rows": len(score.rows)}
        tokens = score_tokens(self.model_wrapped, self.others, self._target_loss, **how) if self.others else None
        if tokens:
            record |= {
                "token_loss": tokens.loss, "perplexity": tokens.perplexity,
                "token_accuracy": tokens.accuracy, "token_rows": tokens.rows,
            }  # fmt: skip
        self.last_score, self.last_tokens = score, tokens
        if record:
            self._record(record)
        self._keep_if_best(score, tokens)
        self._stop_if_stale()
        return record

    def _stop_if_stale(self) -> None:
        """End the run where so many evaluations found nothing better; what was saved says how many, so that a resumed
        run ends where the other one would have. No checkpoint is made of the end: one would be gone on from."""
        patience = self.job.settings.evaluation.patience
        stale = (self.state.global_step - self.best_step) // self.rhythm.evaluate_every
        if patience and stale >= patience and self.state.global_step < self.state.max_steps:
            self.reporter.say(f"nothing better since step {self.best_step}: stopping at step {self.state.global_step}")
            self.control.should_training_stop, self.control.should_save = True, False

    def _keep_if_best(self, score: Score | None, tokens: TokenScore | None) -> None:
        """Exam accuracy decides, else the loss on other rows; without validation rows the last adapter is the best."""
        step = self.state.global_step
        others = -tokens.loss if tokens else float(step)
        rank = (score.accuracy, -score.loss) if score else (others, 0.0)
        if any(map(math.isnan, rank)):
            raise ToolError(
                f"the loss on the validation rows is not a number at step {step}", hint="lower training.learning_rate"
            )
        if step == 0 or (self.best_score and rank <= self.best_score):
            return
        self.best_score, self.best_step = rank, step
        weights = self.gathered_weights()
        if self.reporter.is_first:
            folder = self.job.work / BEST_FOLDER
            folder.mkdir(exist_ok=True)
            with staged_file(folder / adapter.WEIGHTS_FILE) as path:
                adapter.save_weights(path, weights)
            best = {
                "step": step,
                "accuracy": score.accuracy if score else None,
                "rows": len(score.rows) if score else 0,
                "answered": [[*astuple(row)] for row in score.rows] if score else [],
                "perplexity": tokens.perplexity if tokens else None,
                "token_accuracy": tokens.accuracy if tokens else None,
                "token_rows": tokens.rows if tokens else 0,
                "rank": list(rank),
            }
            write_json(folder / BEST_FILE, best)

    def gathered_weights(self) -> dict[str, torch.Tensor]:
        """The adapter in f32. Every rank must call this."""
        return adapter.gather_weights(self.model, deepspeed=self.is_deepspeed_enabled)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the adapter of a checkpoint; Trainer adds optimizer, schedule and random states."""
        weights = self.gathered_weights()
        if self.reporter.is_first and output_dir:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            adapter.save_weights(Path(output_dir) / adapter.WEIGHTS_FILE, weights)

    def save_rehearsed(self) -> None:
        """Save a checkpoint outside of Trainer's own rhythm. Every rank must call this."""
        self._save_checkpoint(self.model, None)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.reporter.is_first:
            folder = self.job.work / f"{CHECKPOINT_PREFIX}{self.state.global_step}"
            checkpoints.keep_best(self.job.work, folder)
            best = {"best_score": self.best_score, "best_step": self.best_step}
            checkpoints.mark_complete(folder, {**best, "run": self.job.fingerprint})
            checkpoints.prune(self.job.work, self.job.settings.checkpoint.keep)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        adapter.load_weights(self.model, Path(resume_from_checkpoint) / adapter.WEIGHTS_FILE)

    # -- metrics ----------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Record a step and, now and then, report it. Trainer's own history would grow into every checkpoint."""
        if "loss" not in logs:
            return
        self._check_gradient(logs.get("grad_norm"))
        self.last_loss = logs["loss"]
        step = {key: logs[key] for key in ("loss", "learning_rate", "grad_norm") if key in logs}
        self._record(step | {"tokens_per_second": round(self.tokens_per_second(), 1), "memory": self.peak_memory()})
        now = time.monotonic()
        if now - self._reported_at >= _REPORT_SECONDS or self.state.global_step == self.state.max_steps:
            self._reported_at = now
            self._report()

    def tokens_per_second(self) -> float:
        """Tokens of rows, without padding, that all processes train in a second."""
        processes: int = self.args.world_size
        return self.pace.tokens_per_second * processes

    def peak_memory(self) -> int:
        """Most bytes that this process has held so far: on its GPU, or in all."""
        return memory.peak(on_gpu=bool(self.job.gpus))

    def _record(self, values: dict[str, Any]) -> None:
        if self.reporter.is_first:
            if self._trackers is None:
                name, settings = self.job.output.name, self.job.settings.flat()
                self._trackers = open_trackers(
                    self.job.report_to, self.job.work, name, settings, max(0, self.state.global_step - 1)
                )
            for tracker in self._trackers:
                tracker.take(self.state.global_step, values)
            step = self.state.global_step
            epoch = round(step * self.job.rows_per_step / self._per_pass, 4)
            seconds = round(time.monotonic() - self._started, 3)
            metrics.append(self.job.work / METRICS_FILE, {"step": step, "epoch": epoch, **values, "seconds": seconds})

    def _report(self) -> None:
        note = f"loss {self.last_loss:.4f}"
        if self.last_score:
            note += f", accuracy {self.last_score.accuracy:.1%}"
        if self.last_tokens:
            note += f", validation perplexity {self.last_tokens.perplexity:.2f}"
            note += f", token accuracy {self.last_tokens.accuracy:.1%}"
        note += f", {self.tokens_per_second():,.0f} tokens/s, {self.peak_memory() / (1 << 30):.1f} GiB"
        self.reporter.progress(self.state.global_step, self.state.max_steps, note)

    def close_trackers(self) -> None:
        """Bring the other programs' records to the disk."""
        for tracker in self._trackers or ():
            tracker.close()
