"""README.md of an adapter folder: what it is, what it was made of and with, and how good it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_SETTINGS = (
    "training.method", "lora.rank", "lora.alpha", "lora.dropout", "lora.targets", "lora.rslora", "lora.dora",
    "lora.plus_ratio", "lora.modules_to_save", "training.optimizer", "training.learning_rate",
    "training.scheduler", "training.batch_size", "training.accumulation",
    "training.max_length", "training.packing", "training.shuffle_options", "training.seed", "model.load_in",
)  # fmt: skip


def model_card(
    record: Mapping[str, Any], base_name: str, dataset: Mapping[str, Any], settings: Mapping[str, Any]
) -> str:
    """The card's text.

    Args:
        record: training.json.
        base_name: the base as the user named it.
        dataset: dataset.json.
        settings: all settings by dotted name.
    """
    return "\n".join(
        [*_front_matter(base_name, record), *_data(dataset), *_training(record, settings), *_results(record), *_use()]
    )


def _front_matter(base_name: str, record: Mapping[str, Any]) -> Iterator[str]:
    is_adapter = record["settings"]["training"]["method"] == "lora"
    yield "---"
    yield f"base_model: {json.dumps(base_name, ensure_ascii=False)}"
    yield f"library_name: {'peft' if is_adapter else 'transformers'}"
    yield "tags: [lora2edge, multiple-choice, lora]" if is_adapter else "tags: [lora2edge]"
    yield "---"
    yield ""
    yield f"# {'A LoRA adapter' if is_adapter else 'A model trained further'}"
    yield ""
    yield f"Made from `{base_name}` (`{record['base']['name']}`) by `trainer fit`; `training.json` holds every setting."
    yield ""


def _data(dataset: Mapping[str, Any]) -> Iterator[str]:
    yield "## Data"
    yield ""
    formats = [f"prompt format `{dataset['prompt_format']}`"]
    formats += [f"question format `{dataset['question_format']}`"] if dataset.get("question_format") else []
    yield (
        f"{dataset['train']:,} rows to train and {dataset['validation']:,} to validate, which share no passage; "
        f"{', '.join(formats)}; sha256 `{dataset['sha256']}`."
    )
    yield ""
    yield "| file | kind | train | validation |"
    yield "|---|---|---|---|"
    for source in dataset["sources"]:
        yield f"| {_cell(source['file'])} | {source['format']} | {source['train']:,} | {source['validation']:,} |"
    yield ""


def _training(record: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    result = record["result"]
    yield "## Training"
    yield ""
    where = f"{record['processes']} {'GPU' if record['device'] == 'gpu' else 'process on a CPU'}"
    yield (
        f"{result['steps']:,} steps, {result['trainable_parameters']:,} numbers trained, in {record['compute_type']}, "
        f"on {where}: {result['seconds']:,.0f} s, {result['tokens_per_second']:,.0f} tokens/s, "
        f"{result['peak_memory'] / (1 << 30):.1f} GiB."
    )
    yield ""
    yield "| setting | value |"
    yield "|---|---|"
    for key in _SETTINGS:
        value = settings[key]
        yield f"| {key} | {_cell(', '.join(value) if isinstance(value, list) else str(value))} |"
    yield ""


def _results(record: Mapping[str, Any]) -> Iterator[str]:
    result = record["result"]
    yield "## Results"
    yield ""
    yield f"Of step {record['best_step']:,}, the best on the validation rows."
    yield ""
    validation = result["validation"]
    if validation:
        low, high = validation["interval"]
        right = f"{validation['accuracy']:.1%} on {validation['rows']:,} rows"
        yield f"- exam accuracy {right} (95 % interval {low:.1%} to {high:.1%})"
        yield f"- expected calibration error {validation['ece']:.3f}, log loss {validation['log_loss']:.3f} nats"
        if validation["temperature"]:
            told = f"- most honest at temperature {validation['temperature']:.2f}"
            yield f"{told}: expected calibration error {validation['ece_at_temperature']:.3f}"
    if result["perplexity"] is not None:
        yield (
            f"- perplexity {result['perplexity']:.2f}, token accuracy {result['token_accuracy']:.1%} on "
            f"{result['token_rows']:,} other rows"
        )
    if not validation and result["perplexity"] is None:
        yield "- no row was kept to validate on"
    yield ""
    if validation and validation["sources"]:
        yield "| source | rows | accuracy |"
        yield "|---|---|---|"
        for name, one in validation["sources"].items():
            yield f"| {_cell(name)} | {one['rows']:,} | {one['accuracy']:.1%} |"
        yield ""
    yield "![loss](plots/loss.png)"
    yield ""


def _use() -> Iterator[str]:
    yield "## Use"
    yield ""
    yield "```"
    yield "exporter merge --base BASE --adapter . --format gguf --type q4_0 --output model.gguf"
    yield "runtime predict sheet.xlsx --model model.gguf --output answers.csv"
    yield "```"
    yield ""


def _cell(text: str) -> str:
    """Text that stays in its cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
