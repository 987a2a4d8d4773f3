"""Plans, results and inspections as text and as tables for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.merge import MergeResult
from exporter.plan import ExportPlan
from exporter.sizes import size_text
from exporter.verification.verify import Verification

_INDENT = "  "


def plan_text(plan: ExportPlan) -> str:
    """The plan in lines, for `--dry-run` and `--verbose`."""
    table = plan.summary()
    types = ", ".join(
        f"{count} {name} of {size_text(table['type_bytes'][name])}" for name, count in table["types"].items()
    )
    lines = [
        f"base      {table['base']} ({plan.base.config.architectures[0]}, {plan.base.vocab_rows:,} tokens)",
        *(
            f"adapter   {adapter.name}: {len(adapter.pairs)} weights, scales "
            f"{_numbers({adapter.weight * pair.scale for pair in adapter.pairs.values()})}"
            for adapter in plan.adapters
        ),
        f"output    {table['output']} ({table['format']}, {size_text(plan.weight_bytes)}; "
        f"{size_text(table['disk_free'])} free)",
        f"tensors   {table['tensors']} ({types})",
        f"formats   {_formats(plan)}",
        f"memory    about {size_text(plan.peak_memory_bytes)} at its peak, {plan.threads} threads",
        *(f"note      {note}" for note in plan.notes),
    ]
    return "\n".join(lines)


def _numbers(values: set[float]) -> str:
    return ", ".join(f"{value:g}" for value in sorted(values))


def _formats(plan: ExportPlan) -> str:
    if plan.formats is None:
        return "none: neither adapter nor base has a prompt_format.toml"
    question = f", questions {plan.formats.question.name}" if plan.formats.question else ""
    return f"prompt {plan.formats.prompt.name}{question}"


def result_table(result: MergeResult) -> dict[str, Any]:
    """A result as `--json` prints it."""
    return {
        "output": str(result.output),
        "already_made": result.already_made,
        "seconds": round(result.seconds, 3),
        "bytes": sum(record["size"] for record in result.files.values()),
        "files": dict(result.files),
    }


def result_text(result: MergeResult) -> str:
    """A result in one line."""
    size = size_text(sum(record["size"] for record in result.files.values()))
    return f"{result.output}  {size}" + ("" if result.already_made else f"  {result.seconds:.1f} s")


def inspection_text(found: Mapping[str, Any]) -> str:
    """What `exporter inspect` prints."""
    lines = [f"{found['path']}: {found['kind']}, {size_text(found['bytes'])}", f"manifest: {found['manifest']}"]
    lines += [f"{_INDENT}{key} = {_short(value)}" for key, value in found["metadata"].items()]
    lines.append(f"tensors: {len(found['tensors'])}")
    lines += [_INDENT + _tensor_text(tensor) for tensor in found["tensors"]]
    return "\n".join(lines)


def _tensor_text(tensor: Mapping[str, Any]) -> str:
    shape = " x ".join(map(str, tensor["shape"]))
    return f"{tensor['name']}  {tensor['type']}  {shape}  {size_text(tensor['bytes'])}"


def _short(value: object) -> str:
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= 100 else text[:97] + "..."


def verification_text(found: Verification) -> str:
    """What `exporter verify` prints: a line for every check, then the sum."""
    lines = [f"{check.name}: {check.status}: {check.detail}" for check in found.checks]
    open_ends = sum(check.status == "not checked" for check in found.checks)
    verdict = "nothing differs" if found.proven else "it differs"
    return "\n".join([*lines, f"{found.path}: {verdict}" + (f"; {open_ends} checks not made" if open_ends else "")])
