"""Training settings: a preset, then `--set section.key=VALUE`; frozen once read.

One object holds every number of a run. What the DeepSpeed JSON leaves `auto` is derived from it.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from configs import files
from configs.errors import ConfigError

DEFAULT_PRESET = "formosa"

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """`lora.plus_ratio=true` would be 1, which is plain LoRA."""
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation in (int, float):
            raise ValueError("it is no switch, and takes a number")
        return value


class ModelSettings(_Section):
    """How the base model is loaded."""

    precision: Literal["auto", "f32", "bf16", "f16"] = "auto"
    """Number type of the base and of the matrix products: `auto` is bf16 on a GPU that has it, else f32. f16, with its
    loss scaled, is for GPUs without bf16."""
    load_in: Literal[4, 8, 16] = 16
    """Bits a weight of the frozen base: 4 (NF4) and 8 are quantized by bitsandbytes, 16 is unquantized."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    """How attention is computed: torch's sdpa, transformers' own matrix products (`eager`), or the package flash-attn,
    which alone skips what packed rows do not see of each other. `auto` is flash-attn on a GPU that has it, in 16 bits,
    else sdpa."""


class LoraSettings(_Section):
    """The adapter."""

    rank: int = Field(16, ge=1, le=1024)
    """Inner width of A and B."""
    alpha: float = Field(32, gt=0)
    """The update is (alpha / rank) * B @ A."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Share of the adapter's inputs set to zero while training."""
    targets: tuple[str, ...] = Field(LINEARS, min_length=1)
    """Names of the linear layers that get an adapter."""
    rslora: bool = False
    """rsLoRA: the update is (alpha / sqrt(rank)) * B @ A, which keeps its size at high ranks."""
    dora: bool = False
    """DoRA: the length of each column of the sum is trained apart from its direction."""
    plus_ratio: float = Field(1.0, ge=1)
    """LoRA+: B's learning rate is this many times A's, `training.learning_rate`. 16 is usual; 1 is plain LoRA."""
    modules_to_save: tuple[Literal["embed_tokens", "lm_head"], ...] = ()
    """Matrices of the vocabulary that are trained whole and kept in the adapter: two full matrices, with their
    optimizer state."""

    @field_validator("targets", "modules_to_save", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """`a,b` on a command line is the list of both."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class TrainingSettings(_Section):
    """The optimizer's road."""

    method: Literal["lora", "embeddings", "full"] = "lora"
    """What is trained: an adapter; `embed_tokens` and `lm_head` alone; or every weight. The last two write a model, not
    an adapter."""
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "cpu_adam"] = "adamw"
    """AdamW of torch; of bitsandbytes with its state in 8 bits or in pages that move off the card; or DeepSpeed's for a
    CPU, which is built in C++ at its first use and pays where the optimizer is offloaded."""
    fused: Literal["auto", "on", "off"] = "auto"
    """Whether torch's AdamW takes one pass over all numbers: `auto` does on a GPU."""
    max_length: int = Field(1536, ge=16)
    """Tokens a row may have; a longer one loses the end of its passage, never question, options or answer."""
    epochs: float = Field(2.0, gt=0)
    """Passes over the training rows, where `steps` is 0."""
    steps: int = Field(0, ge=0)
    """Optimizer steps; 0 takes `epochs`."""
    batch_size: int = Field(1, ge=1)
    """Rows in one forward pass, per process."""
    accumulation: int = Field(16, ge=1)
    """Forward passes per optimizer step."""
    learning_rate: float = Field(2e-4, gt=0)
    """Highest learning rate."""
    warmup: float = Field(0.03, ge=0)
    """Steps to reach it; a number below 1 is a share of all steps."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the learning rate after the warm-up."""
    final_learning_rate: float = Field(0.1, ge=0, le=1)
    """Where `cosine` and `linear` end, as a share of `learning_rate`."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's; it acts on A and B, not on the merged weight."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    gradient_checkpointing: bool = False
    """Compute activations twice to hold fewer of them."""
    group_by_length: bool = True
    """Put rows of similar length into one batch, so that little is padding; packed rows need it not."""
    packing: bool = False
    """Put several rows, which do not see each other, into one sequence of up to `max_length` tokens: larger products
    for a GPU. `batch_size` then counts sequences."""
    shuffle_options: bool = False
    """Exam rows are asked with their options in another order in every pass, the label with its option."""
    explanations: bool = False
    """Exam rows that have an explanation reply with the label and then the explanation, not with the label alone."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the adapter's start, of dropout and of the order of rows."""


class EvaluationSettings(_Section):
    """Exam accuracy on validation rows, and loss on those that are no exam questions, while training."""

    every: int = Field(0, ge=0)
    """Steps between evaluations; 0 makes about ten in a run. The last step always has one."""
    rows: int = Field(300, ge=0)
    """Validation rows used, a fixed seeded choice; 0 takes all."""
    batch_size: int = Field(8, ge=1)
    """Sequences in one forward pass, per process. A question is one for every beginning that spellings of its labels
    have: two where `1` may follow a space or a new line."""
    patience: int = Field(0, ge=0)
    """Evaluations in a row without a better result after which the run ends; 0 runs to the last step."""


class CheckpointSettings(_Section):
    """What an interrupted run can go on from."""

    every: int = Field(0, ge=0)
    """Steps between checkpoints; 0 makes one after each evaluation but the last."""
    keep: int = Field(2, ge=1)
    """Newest checkpoints kept while training."""


class Settings(_Section):
    """Everything a training run may be told."""

    deepspeed: str = "zero2"
    """A shipped DeepSpeed configuration, a JSON file, or `none` for plain torch in one process."""
    model: ModelSettings = ModelSettings()
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()

    def flat(self) -> dict[str, Any]:
        """Settings by dotted name, for comparing two runs."""
        return _flatten(self.model_dump(mode="json"))


def load_settings(preset: str = DEFAULT_PRESET, overrides: Iterable[str] = (), deepspeed: str = "") -> Settings:
    """Read a preset and lay `section.key=VALUE` overrides and the `--deepspeed` flag over it.

    Raises:
        ConfigError: unknown preset or key (near ones are named), a value of the wrong type or out of range.
    """
    path = files.find("presets", preset)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for key in _flatten(tree):
        _check_known(key)
    for override in overrides:
        key, value = parse_override(override)
        _set(tree, key, value)
    if deepspeed:
        tree["deepspeed"] = deepspeed
    return _validated(tree)


def parse_override(text: str) -> tuple[str, Any]:
    """Split `section.key=VALUE`; the value is TOML, and a bare word is a string.

    Raises:
        ConfigError: no `=`, or an unknown key.
    """
    key, sign, value = (part.strip() for part in text.partition("="))
    if not sign or not key:
        raise ConfigError(f"--set {text}: expected section.key=VALUE")
    _check_known(key)
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def known_keys() -> list[str]:
    """Dotted names of all settings."""
    return list(Settings().flat())


def _check_known(key: str) -> None:
    keys = known_keys()
    if key in keys:
        return
    last = key.rpartition(".")[2]
    near = [known for known in keys if known.rpartition(".")[2] == last]
    near += [known for known in difflib.get_close_matches(key, keys, n=3) if known not in near]
    raise ConfigError(f"unknown setting '{key}'", hint=f"did you mean {', '.join(near)}?" if near else _sections())


def _sections() -> str:
    return f"settings are: {', '.join(known_keys())}"


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _validated(tree: dict[str, Any]) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ").lower()
        raise ConfigError(f"setting {key} = {first['input']!r}: {told}") from error
