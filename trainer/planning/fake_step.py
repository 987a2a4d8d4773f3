"""What a training step holds at once: the step itself, run on tensors that have a size and no content.

The tensors say that they are on a CPU, not on torch's `meta` device: there attention would take a kernel that keeps
all probabilities, which nobody runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from configs.errors import ConfigError
from trainer.model import add_adapter, free_weights, freeze
from trainer.perplexity import POSITIONS
from trainer.planning.models import PlannedModel
from trainer.settings import Settings
from trainer.target_loss import TargetLoss

_MEASURED_LAYERS = (2, 3)
"""What a step holds grows by the same amount with each further layer."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The largest batches of a run."""

    length: int
    """Tokens of a row, or of a packed sequence."""
    trained: int
    """Trained tokens of it."""
    validated: int
    """Tokens of a validation row."""
    scored: tuple[int, ...]
    """Tokens of it whose probabilities are looked at: of an exam question's, of another row's, as there are any."""


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes beside the weights, and numbers of parameters."""

    training: int
    """Most that one forward and backward pass holds, without the gradients of the parameters."""
    evaluation: int
    """Most that one batch of the evaluation holds."""
    parameters: int
    """All of the base's."""
    in_layers: int
    """Those of the linear layers inside the blocks: what 4-bit and 8-bit are about."""
    trained: int
    """Those of the adapter."""
    largest_linear: int
    """Numbers of the largest matrix inside the blocks."""


class _Ledger(TorchDispatchMode):  # type: ignore[misc]  # torch is not followed by mypy
    """Counts every storage from when it appears until it is given up."""

    def __init__(self, known: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.now: int = 0
        self.most: int = 0
        for tensor in known:
            self._add(tensor)
        self.now = self.most = 0
        self._sizes = dict.fromkeys(self._sizes, 0)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += self._sizes[key]
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._remove, key)

    def _remove(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


def width(settings: Settings, *, on_cpu: bool) -> int:
    """Bytes of an unquantized number."""
    return int(_compute_type(settings, on_cpu=on_cpu).itemsize)


def _compute_type(settings: Settings, *, on_cpu: bool) -> torch.dtype:
    precision = settings.model.precision
    if precision == "f16":
        return torch.float16
    return torch.float32 if precision == "f32" or (precision == "auto" and on_cpu) else torch.bfloat16


def _attention(settings: Settings) -> str:
    """flash-attn holds what torch's sdpa does, and runs on no CPU."""
    return "eager" if settings.model.attention == "eager" else "sdpa"


def measure(model: PlannedModel, settings: Settings, batch: Batch, *, on_cpu: bool) -> Step:
    """What a step of these settings holds on an unquantized model, in the number type of a GPU with bf16 or of a CPU.

    Raises:
        ConfigError: the model is no causal language model, or no adapter fits it.
    """
    options = dict(model.config)
    try:
        config = AutoConfig.for_model(options.pop("model_type"), **options)
        layers = config.num_hidden_layers
        few, more = (
            _measured(config, min(count, layers), settings, _compute_type(settings, on_cpu=on_cpu), batch)
            for count in _MEASURED_LAYERS
        )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{model.name} cannot be planned for: {reason}") from error
    further = max(0, layers - _MEASURED_LAYERS[0])

    def grown(name: str) -> int:
        first, second = getattr(few, name), getattr(more, name)
        return int(first + (second - first) * further)

    return Step(
        training=grown("training"), evaluation=grown("evaluation"), parameters=grown("parameters"),
        in_layers=grown("in_layers"), trained=grown("trained"), largest_linear=few.largest_linear,
    )  # fmt: skip


def _measured(config: PretrainedConfig, layers: int, settings: Settings, compute: torch.dtype, batch: Batch) -> Step:
    config = type(config).from_dict(config.to_dict() | {"num_hidden_layers": layers, "layer_types": None})
    with FakeTensorMode(), _modules_stay():
        base = AutoModelForCausalLM.from_config(config, dtype=compute, attn_implementation=_attention(settings))
        parameters = sum(parameter.numel() for parameter in base.parameters())
        outside = {id(base.get_output_embeddings())}
        inside = [m.weight.numel() for m in base.modules() if isinstance(m, torch.nn.Linear) and id(m) not in outside]
        frozen = freeze(base, settings)
        is_lora = settings.training.method == "lora"
        model = add_adapter(frozen, settings) if is_lora else free_weights(frozen, settings)
        training = _training_pass(model, settings, compute, batch)
        evaluation = max(_evaluation_pass(model, settings, compute, batch, scored) for scored in batch.scored)
    return Step(
        training=training, evaluation=evaluation, parameters=parameters, in_layers=sum(inside),
        trained=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        largest_linear=max(inside),
    )  # fmt: skip


@contextmanager
def _modules_stay() -> Iterator[None]:
    """PEFT moves new modules to their layer's device, which tensors without content refuse; they are there already."""
    to = torch.nn.Module.to
    torch.nn.Module.to = lambda module, *_args, **_kwargs: module
    try:
        yield
    finally:
        torch.nn.Module.to = to


def _training_pass(model: torch.nn.Module, settings: Settings, compute: torch.dtype, batch: Batch) -> int:
    target_loss = TargetLoss(model)
    ids_BL = torch.ones((settings.training.batch_size, batch.length), dtype=torch.long)
    trained = min(batch.trained, batch.length - 1)
    model.train()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.grad = torch.zeros_like(parameter)  # as it is from the second pass of a step on
    with _Ledger([*_tensors(model), *(parameter.grad for parameter in trainable)]) as ledger:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=compute.itemsize == 2):
            target_K = torch.ones(len(ids_BL) * trained, dtype=torch.long)
            loss = target_loss.at(model, ids_BL, torch.arange(trained), target_K)
        loss.backward()
    model.zero_grad()
    return int(ledger.most)


def _evaluation_pass(
    model: torch.nn.Module, settings: Settings, compute: torch.dtype, batch: Batch, scored: int
) -> int:
    rows = max(1, min(settings.evaluation.batch_size, POSITIONS // scored))
    ids_BL = torch.ones((rows, batch.validated), dtype=torch.long)
    target_loss = TargetLoss(model)
    target_K = torch.ones(rows * min(scored, batch.validated - 1), dtype=torch.long)
    model.eval()
    with _Ledger(_tensors(model)) as ledger, torch.autocast("cpu", torch.bfloat16, enabled=compute.itemsize == 2):
        target_loss.score_at(model, ids_BL, torch.arange(len(target_K) // rows), target_K)
    return int(ledger.most)


def _tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
