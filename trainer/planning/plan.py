"""`trainer plan`: every way to train a model with a preset, what each takes, and the cheapest that fits."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import files
from configs.errors import ConfigError, require
from trainer.combinations import check_combination
from trainer.datasets.folder import read_meta
from trainer.planning.amounts import GIB, host_memory, parse_amount
from trainer.planning.choice import Option, cheapest
from trainer.planning.models import PlannedModel, read_model
from trainer.planning.parts import Setting, Way, parts_on_cpu, parts_on_gpu
from trainer.settings import DEFAULT_PRESET, Settings, load_settings
from trainer.zero import deepspeed_config

if TYPE_CHECKING:
    from trainer.planning.fake_step import Batch, Step

CARDS = tuple(size * GIB for size in (8, 11, 12, 24))
"""The usual cards, shown where none is named."""
DEEPSPEEDS = ("none", "zero1-offload", "zero2", "zero2-offload", "zero3", "zero3-offload")
BITS = (16, 8, 4)
_SHORTER = (1024, 768, 512)
_EXAM_TARGET = 3
"""Trained tokens of an exam row: the blank that begins the label, the label, and the end."""
_EXAM_SCORED = 2
"""Tokens of an exam row whose probabilities are looked at: the end of the prompt, and the blank."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What `trainer plan` was told."""

    model: str
    preset: str = ""
    """Empty: the default preset is shown, and all are considered."""
    overrides: tuple[str, ...] = ()
    gpu_memory: str = ""
    host_memory: str = ""
    gpus: int = 1
    data: Path | None = None
    on_cpu: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A model's ways to be trained."""

    model: PlannedModel
    preset: str
    settings: Settings
    overrides: tuple[str, ...]
    step: Step
    batch: Batch
    gpus: int
    """Processes; on a CPU too."""
    on_cpu: bool
    gpu_memory: int
    """Bytes of each card; 0 where none was named."""
    host_memory: int
    rows: tuple[Option, ...]
    """The shown preset's ways, as its settings have them."""
    recommended: Option | None

    @property
    def measured(self) -> bool:
        """Whether the figures stand on measurements: those of a CPU do, those of cards are estimates."""
        return self.on_cpu


def make_plan(request: PlanRequest) -> Plan:
    """Check the request, then run the steps that it is about on tensors without content.

    Raises:
        ConfigError: no such model, preset or setting, or an amount that is none.
        MachineError: the packages of training are not installed.
    """
    if request.gpus < 1:
        raise ConfigError(f"--gpus {request.gpus}: at least one is needed")
    card = parse_amount(request.gpu_memory, "--gpu-memory") if request.gpu_memory else 0
    if card and request.on_cpu:
        raise ConfigError("--cpu trains without a card", hint="leave out --gpu-memory, or --cpu")
    host = parse_amount(request.host_memory, "--host-memory") if request.host_memory else host_memory()
    model = read_model(request.model)
    shown = request.preset or DEFAULT_PRESET
    settings = load_settings(shown, request.overrides)
    planner = _Planner(model, request)
    rows = planner.options(shown, settings, checkpointing=(settings.training.gradient_checkpointing,))
    if not rows:
        raise ConfigError(f"preset {shown} with these settings can be trained in no way at all")
    best = None
    if card or request.on_cpu:
        best = _recommended(planner, request, settings, host if request.on_cpu else card, host)
    step, batch = planner.step(settings)
    return Plan(
        model=model, preset=shown, settings=settings, overrides=request.overrides, step=step, batch=batch,
        gpus=request.gpus, on_cpu=request.on_cpu, gpu_memory=card, host_memory=host, rows=tuple(rows), recommended=best,
    )  # fmt: skip


def _recommended(planner: _Planner, request: PlanRequest, settings: Settings, device: int, host: int) -> Option | None:
    """The cheapest way of the preset that fits, else of another one if none was named, else with shorter rows."""
    shown = request.preset or DEFAULT_PRESET
    best = cheapest(planner.candidates(shown, settings), device, host)
    if best is None and not request.preset:
        others = [name for name in files.names("presets") if name != shown]
        found = [planner.candidates(name, load_settings(name, request.overrides)) for name in others]
        best = cheapest([option for options in found for option in options], device, host)
    return best or cheapest(planner.shorter(shown, settings), device, host)


class _Planner:
    """Measures steps, each once, and lays the ways to train over them."""

    def __init__(self, model: PlannedModel, request: PlanRequest) -> None:
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses kernels that nothing here calls
        require("torch", "train")
        require("peft", "train")
        from trainer.memory import resident
        from trainer.planning import fake_step

        self._fake_step = fake_step
        self._libraries = resident()
        self._model = model
        self._request = request
        self._shape = _data_shape(request.data)
        self._steps: dict[str, Step] = {}

    def options(
        self, preset: str, settings: Settings, checkpointing: Iterable[bool], max_length: int = 0
    ) -> list[Option]:
        """Every way, with these choices of computing activations twice."""
        found = []
        for twice in checkpointing:
            training: dict[str, Any] = {"gradient_checkpointing": twice}
            if max_length:
                training["max_length"] = max_length
            changed = settings.model_copy(update={"training": settings.training.model_copy(update=training)})
            step, _ = self.step(changed)
            setting = self._setting(step, changed)
            parts = parts_on_cpu if self._request.on_cpu else parts_on_gpu
            length = changed.training.max_length
            found += [Option(preset, way, twice, length, parts(setting, way)) for way in self._ways(changed)]
        return found

    def _ways(self, settings: Settings) -> Iterator[Way]:
        """Bits a weight and DeepSpeed configurations that these settings can be trained with."""
        on_gpu = not self._request.on_cpu
        for bits, name in product(BITS, DEEPSPEEDS):
            changed = settings.model_copy(update={"model": settings.model.model_copy(update={"load_in": bits})})
            deepspeed = deepspeed_config(name, changed, on_gpu=on_gpu)
            is_tied = bool(self._model.config.get("tie_word_embeddings"))
            try:
                check_combination(changed, deepspeed, on_gpu=on_gpu, is_tied=is_tied, continues_adapter=False)
            except ConfigError:
                continue
            if name != "none" or self._request.gpus == 1:
                yield Way(bits, name, (deepspeed or {}).get("zero_optimization"))

    def candidates(self, preset: str, settings: Settings) -> list[Option]:
        """All ways of a preset at its own length."""
        return self.options(preset, settings, (False, True))

    def shorter(self, preset: str, settings: Settings) -> list[Option]:
        """The same with rows cut shorter."""
        lengths = [length for length in _SHORTER if length < settings.training.max_length]
        return [one for length in lengths for one in self.options(preset, settings, (True,), length)]

    def step(self, settings: Settings) -> tuple[Step, Batch]:
        """A step of these settings, and its largest batch."""
        training = settings.training
        shape = self._shape
        validated = min(shape.longest or training.max_length, training.max_length)
        # Raw text is cut into blocks of the full length, packed rows fill sequences of it.
        length = min(shape.tokens, training.max_length) if training.packing or shape.texts else validated
        validated = length if shape.texts else validated
        rows = max(1, length // 320) if training.packing else 1
        trained = _EXAM_TARGET * rows if not shape.others else length
        scored = (*([_EXAM_SCORED] if shape.exams else []), *([validated] if shape.others else []))
        batch = self._fake_step.Batch(length, trained, validated, scored)
        key = repr((settings.lora, settings.model.precision, settings.model.attention, settings.evaluation.batch_size,
                    batch, training.method, training.batch_size, training.gradient_checkpointing))  # fmt: skip
        if key not in self._steps:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of transformers about its own next version
                self._steps[key] = self._fake_step.measure(self._model, settings, batch, on_cpu=self._request.on_cpu)
        return self._steps[key], batch

    def _setting(self, step: Step, settings: Settings) -> Setting:
        width = self._fake_step.width(settings, on_cpu=self._request.on_cpu)
        return Setting(
            step, width, optimizer=settings.training.optimizer, trains_base=settings.training.method != "lora",
            processes=self._request.gpus, libraries=self._libraries,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _DataShape:
    """What rows a run has; unknown lengths are the longest allowed."""

    exams: bool = True
    """Whether some are exam questions."""
    others: bool = False
    """Whether some are not."""
    texts: bool = False
    """Whether some are raw text, which is put end to end."""
    longest: int = 0
    """Tokens of the longest row; 0 where nobody counted."""
    tokens: int = sys.maxsize
    """Of all rows."""


def _data_shape(data: Path | None) -> _DataShape:
    """The shape of a dataset folder; exam questions of any length without one."""
    if data is None:
        return _DataShape()
    meta = read_meta(data)
    kinds = {source["format"] for source in meta["sources"]}
    tokens = meta.get("tokens") or {}
    return _DataShape(
        exams="exam" in kinds, others=bool(kinds - {"exam"}), texts="text" in kinds,
        longest=int(tokens.get("longest", 0)), tokens=int(tokens.get("sum", sys.maxsize)),
    )  # fmt: skip


def recommendation(option: Option, settings: Settings) -> Sequence[str]:
    """The arguments of `trainer fit` that choose an option."""
    arguments = ["--preset", option.preset, "--deepspeed", option.way.deepspeed]
    changes: dict[str, tuple[object, object]] = {"model.load_in": (option.way.bits, settings.model.load_in)}
    changes["training.gradient_checkpointing"] = (option.checkpointing, settings.training.gradient_checkpointing)
    if option.max_length < settings.training.max_length:
        changes["training.max_length"] = (option.max_length, settings.training.max_length)
    for key, (wanted, preset) in changes.items():
        if wanted != preset:
            arguments += ["--set", f"{key}={str(wanted).lower()}"]
    return arguments
