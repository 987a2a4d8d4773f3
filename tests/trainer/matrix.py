"""What combines with what: every way of training on every back end, as declared here, run by test_matrix.py, and shown
in docs/training.md.

    python -m tests.trainer.matrix docs/training.md     writes the table anew
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

START, END = "<!-- table: tests/trainer/matrix.py -->", "<!-- end of table -->"

EXACT = 1e-5
"""Largest difference of any trained number, and of any step's loss, from plain torch: f32, 4 steps at 1e-3."""
ROUNDED = 0.25
"""Where something is kept in 16 or 8 bits: largest distance of the whole update from plain torch's, as a share of its
length. Adam's first steps have the size of the learning rate whatever the gradient's, so rounding shows."""


@dataclass(frozen=True, slots=True)
class BackEnd:
    """A column: how the training is run."""

    name: str
    words: tuple[str, ...]
    processes: int = 1


BACK_ENDS = (
    BackEnd("none", ("--deepspeed", "none")),
    BackEnd("zero0", ("--deepspeed", "zero0")),
    BackEnd("zero1", ("--deepspeed", "zero1")),
    BackEnd("zero1-offload", ("--deepspeed", "zero1-offload")),
    BackEnd("zero2", ("--deepspeed", "zero2")),
    BackEnd("zero2-offload", ("--deepspeed", "zero2-offload")),
    BackEnd("zero3", ("--deepspeed", "zero3")),
    BackEnd("zero3-offload", ("--deepspeed", "zero3-offload")),
    BackEnd("zero2, 2 processes", ("--deepspeed", "zero2", "--gpus", "2"), 2),
    BackEnd("zero3-offload, 2 processes", ("--deepspeed", "zero3-offload", "--gpus", "2"), 2),
)
_ZERO0 = ("zero0",)
_OFFLOADED = ("zero1-offload", "zero2-offload", "zero3-offload", "zero3-offload, 2 processes")
_NOT_OFFLOADED = tuple(one.name for one in BACK_ENDS if one.name not in _OFFLOADED)
_ZERO3 = ("zero3", "zero3-offload", "zero3-offload, 2 processes")
_ALL = tuple(one.name for one in BACK_ENDS)


@dataclass(frozen=True, slots=True)
class Method:
    """A row: what is trained, and how exactly it is the same on every back end."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    is_exact: bool = True
    refused: tuple[str, ...] = ()
    """Back ends it does not run on."""
    remedy: str = ""
    """What the refusal offers instead."""
    tied: bool = False
    """Whether the base's input and output matrix are one."""

    @property
    def overrides(self) -> dict[str, str]:
        """The settings as tests spell them."""
        return {key.replace(".", "__"): value for key, value in self.settings.items()}


_BOTH = "embed_tokens,lm_head"
_FULL = {"training.method": "full"}
METHODS = (
    Method("LoRA"),
    Method("rsLoRA", {"lora.rslora": "true"}),
    Method("DoRA", {"lora.dora": "true"}),
    Method("LoRA+", {"lora.plus_ratio": "16"}),
    Method("LoRA and whole `embed_tokens`, `lm_head`", {"lora.modules_to_save": _BOTH}),
    Method("the same, tied base", {"lora.modules_to_save": "embed_tokens"}, tied=True),
    Method("LoRA+ with whole matrices", {"lora.plus_ratio": "16", "lora.modules_to_save": _BOTH}),
    Method("embeddings alone", {"training.method": "embeddings"}),
    Method("embeddings alone, tied base", {"training.method": "embeddings"}, tied=True),
    Method("full fine-tuning", _FULL),
    Method("QLoRA, 4 bits", {"model.load_in": "4"}),
    Method("QLoRA, 8 bits", {"model.load_in": "8"}),
    Method("QLoRA, 4 bits, LoRA+", {"model.load_in": "4", "lora.plus_ratio": "16"}),
    Method("QLoRA, 4 bits, whole matrices", {"model.load_in": "4", "lora.modules_to_save": _BOTH}),
    Method("DoRA on 4 bits", {"model.load_in": "4", "lora.dora": "true"}, refused=_ZERO3, remedy="--deepspeed zero2"),
    Method(
        "DoRA on 8 bits, on a CPU", {"model.load_in": "8", "lora.dora": "true"}, refused=_ALL, remedy="model.load_in=4"
    ),
    Method("LoRA, packed", {"training.packing": "true", "training.max_length": "256"}),
    Method("LoRA, gradient checkpointing", {"training.gradient_checkpointing": "true"}),
    Method("DoRA, gradient checkpointing", {"lora.dora": "true", "training.gradient_checkpointing": "true"}),
    Method(
        "LoRA and whole matrices, gradient checkpointing",
        {"lora.modules_to_save": _BOTH, "training.gradient_checkpointing": "true"},
    ),
    Method("full fine-tuning, gradient checkpointing", _FULL | {"training.gradient_checkpointing": "true"}),
    Method("QLoRA, 4 bits, gradient checkpointing", {"model.load_in": "4", "training.gradient_checkpointing": "true"}),
    Method("LoRA, bf16", {"model.precision": "bf16"}, is_exact=False, refused=_ZERO0, remedy="zero1"),
    Method(
        "whole matrices, bf16", {"model.precision": "bf16", "lora.modules_to_save": _BOTH}, is_exact=False,
        refused=_ZERO0, remedy="zero1",
    ),
    Method(
        "full fine-tuning, bf16", {"model.precision": "bf16", "training.method": "full"}, is_exact=False,
        refused=_ZERO0, remedy="zero1",
    ),
    Method("LoRA, f16, on a CPU", {"model.precision": "f16"}, refused=_ALL, remedy="model.precision=bf16"),
    Method(
        "AdamW in 8 bits", {"training.optimizer": "adamw_8bit"}, is_exact=False, refused=_OFFLOADED,
        remedy="training.optimizer=adamw",
    ),
    Method(
        "AdamW in 8 bits, paged", {"training.optimizer": "paged_adamw_8bit"}, is_exact=False, refused=_OFFLOADED,
        remedy="training.optimizer=adamw",
    ),
    Method(
        "AdamW, paged", {"training.optimizer": "paged_adamw_32bit"}, refused=_OFFLOADED,
        remedy="training.optimizer=adamw",
    ),
    Method(
        "DeepSpeed's CPU Adam", {"training.optimizer": "cpu_adam"}, refused=_NOT_OFFLOADED, remedy="zero2-offload",
    ),
)  # fmt: skip


def table() -> str:
    """The table in Markdown."""
    lines = ["| | " + " | ".join(one.name for one in BACK_ENDS) + " |", "|---" * (len(BACK_ENDS) + 1) + "|"]
    for method in METHODS:
        how = "yes" if method.is_exact else "about"
        cells = ["no" if one.name in method.refused else how for one in BACK_ENDS]
        settings = " ".join(f"`{key}={value}`" for key, value in method.settings.items())
        lines.append(f"| {method.name}{f'<br>{settings}' if settings else ''} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def written(document: str) -> str:
    """A document with the table in its place."""
    before, found, rest = document.partition(START)
    _, ended, after = rest.partition(END)
    assert found, f"no {START}"
    assert ended, f"no {END}"
    return f"{before}{START}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
