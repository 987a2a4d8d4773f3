"""What is known of a model before it is loaded: its files checked, its formats chosen, its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from configs.errors import ConfigError
from configs.exam import QuestionFormat
from configs.files import names
from configs.formats import Formats
from configs.prompt import PromptFormat
from runtime.gguf_header import GgufHeader, read_header
from runtime.gguf_reader import shown
from runtime.interface import ModelOptions

_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model and its adapters, checked but not loaded."""

    options: ModelOptions
    header: GgufHeader
    adapters: tuple[tuple[GgufHeader, float], ...]
    formats: Formats
    notes: tuple[str, ...]
    """Sentences a person should read about what was chosen."""

    def identity(self) -> dict[str, object]:
        """What distinguishes this model's answers from another's: for the journal."""
        return {
            "model": file_identity(self.header),
            "adapters": [[file_identity(header), weight] for header, weight in self.adapters],
        }


def plan_model(options: ModelOptions) -> ModelPlan:
    """Check the model and adapter files and choose the formats.

    Raises:
        ConfigError: a file is missing or is not what it is used as, no prompt format is known, or `ctx_size` is larger
            than the model's context.
    """
    header = read_header(options.model)
    if header.is_adapter:
        raise ConfigError(f"{options.model} is an adapter, not a model", hint="--model BASE.gguf --adapter it")
    limit = header.number("context_length")
    if options.ctx_size > limit:
        raise ConfigError(f"--ctx-size {options.ctx_size} is more than the model's {limit}")
    return _plan(options, header)


def plan_adapters(plan: ModelPlan, adapters: Sequence[tuple[Path, float]]) -> ModelPlan:
    """The plan of the same model with exactly these adapters.

    Raises:
        ConfigError: an adapter file is missing, or made for another model.
    """
    return _plan(replace(plan.options, adapters=tuple(adapters)), plan.header)


def _plan(options: ModelOptions, header: GgufHeader) -> ModelPlan:
    adapters = tuple((_adapter_header(path, header), weight) for path, weight in options.adapters)
    formats, notes = _choose_formats(options, header, [adapter for adapter, _ in adapters])
    return ModelPlan(options, header, adapters, formats, tuple(notes))


def file_identity(header: GgufHeader) -> str:
    """The SHA-256 in the manifest beside the file, and a hash of size, header and samples of the weights.

    The manifest alone would vouch for whatever is copied over its file; hashing 4 GB before every run takes too long.
    """
    digest = hashlib.sha256(f"{header.size_bytes} {header.sha256}".encode())
    with header.path.open("rb") as file:
        for sample in range(_SAMPLES):
            file.seek(max(0, header.size_bytes - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return " ".join(filter(None, (_manifest_sha256(header), f"sample:{digest.hexdigest()}")))


def _manifest_sha256(header: GgufHeader) -> str:
    """What FILE.gguf.manifest.json says of the file's hash; empty without one, or if the file has another size."""
    manifest = header.path.with_name(f"{header.path.name}.manifest.json")
    try:
        record = json.loads(manifest.read_text(encoding="utf-8"))["files"][header.path.name]
        return f"sha256:{record['sha256']}" if record["size"] == header.size_bytes else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _adapter_header(path: Path, model: GgufHeader) -> GgufHeader:
    header = read_header(path)
    if not header.is_adapter or header.metadata.get("adapter.type", "lora") != "lora":
        raise ConfigError(f"{path} is not a LoRA adapter", hint="`exporter adapter` makes one from an adapter folder")
    if header.architecture != model.architecture:
        raise ConfigError(
            f"{path} is an adapter for {shown(header.architecture)}, {model.path.name} is {model.architecture}"
        )
    _check_shapes(header, model)
    return header


def _check_shapes(adapter: GgufHeader, model: GgufHeader) -> None:
    """Every factor must fit the tensor it adapts: a is [I, R], b is [R, O] for a tensor [I, O] (fastest first)."""
    for name, shape in adapter.tensors.items():
        target, _, factor = name.rpartition(".lora_")
        base = model.tensors.get(target)
        if factor not in ("a", "b") or "token_embd" in target:  # norms and embeddings: llama.cpp's own check
            continue
        at = 0 if factor == "a" else 1
        if base is None or len(shape) != 2 or len(base) != 2 or shape[at] != base[at]:
            found = "has no such tensor" if base is None else f"has {list(base)} there"
            raise ConfigError(
                f"{adapter.path} was made for another model: {shown(name)} is {list(shape)}, {model.path.name} {found}"
            )


def _choose_formats(options: ModelOptions, model: GgufHeader, adapters: list[GgufHeader]) -> tuple[Formats, list[str]]:
    """Formats by hand, else the last adapter's that carries some, else the model's."""
    carried, carrier, notes = _carried(model), model, []
    for adapter in adapters:
        formats = _carried(adapter)
        if formats and carried and formats != carried:
            notes.append(f"the formats of {adapter.path.name} are used, not those of {carrier.path.name}")
        if formats:
            carried, carrier = formats, adapter
    question = QuestionFormat.load(options.question_format) if options.question_format else None
    if options.prompt_format:
        prompt = PromptFormat.load(options.prompt_format)
        return Formats(prompt, question or (carried.question if carried else None)), notes
    if carried is None:
        raise ConfigError(
            f"{options.model} does not say which prompt format it was trained with",
            hint=f"choose one: --prompt-format {'|'.join(names('prompts'))}|FILE",
        )
    return Formats(carried.prompt, question or carried.question), notes


def _carried(header: GgufHeader) -> Formats | None:
    """The formats in a file's metadata; what is wrong with them is said with the file's name."""
    try:
        return Formats.from_gguf_keys(header.metadata)
    except ConfigError as error:
        raise ConfigError(f"{header.path} carries a format that is damaged: {error.message}", error.hint) from error


def question_format(plan_formats: Formats, options: ModelOptions) -> tuple[QuestionFormat, str]:
    """The question format to use, and a note if it had to be assumed.

    Raises:
        ConfigError: the model carries a prompt format but no question format, and none was given.
    """
    if plan_formats.question:
        return plan_formats.question, ""
    if options.prompt_format:
        return QuestionFormat.load("formosa"), "question format: formosa (give another with --question-format)"
    raise ConfigError(
        f"{options.model} does not say which question format it was trained with",
        hint=f"choose one: --question-format {'|'.join(names('questions'))}|FILE",
    )
