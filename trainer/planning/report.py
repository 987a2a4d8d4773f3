"""A plan as a table for people and as a tree for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.planning.amounts import GIB, in_gib
from trainer.planning.choice import Option
from trainer.planning.plan import CARDS, Plan, recommendation
from trainer.settings import load_settings


def lines(plan: Plan) -> Iterator[str]:
    """What `trainer plan` prints."""
    training, step = plan.settings.training, plan.step
    yield (
        f"{plan.model.name}: {step.parameters / 1e9:,.2f} billion parameters, {step.in_layers / 1e9:,.2f} of which can "
        f"be quantized; preset {plan.preset} trains {step.trained / 1e6:,.1f} million"
    )
    yield (
        f"largest batch: {training.batch_size} x {plan.batch.length:,} tokens, {plan.batch.trained:,} of them trained; "
        f"activations computed {'twice' if training.gradient_checkpointing else 'once'}"
    )
    kind = "as this CPU's libraries and kernels take it" if plan.measured else "estimated: no card was measured"
    where = "in all" if plan.on_cpu else f"on each GPU, and of the host, which has {in_gib(plan.host_memory)}"
    yield f"GiB {where}; {kind}"
    yield ""
    names = list(plan.rows[0].parts.device)
    cards = [plan.gpu_memory] if plan.gpu_memory else [] if plan.on_cpu else list(CARDS)
    head = ["bits", "deepspeed", *names, "total", *([] if plan.on_cpu else ["host"])]
    head += [f"{card / GIB:g} GB" for card in cards] if not plan.on_cpu else ["fits"]
    table = [head, *(_cells(plan, option, names, cards) for option in plan.rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(head))]
    for row in table:
        cells = [row[0].rjust(widths[0]), row[1].ljust(widths[1])]
        yield "  ".join(
            [*cells, *(cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True))]
        ).rstrip()
    yield ""
    yield from _recommended(plan)


def _cells(plan: Plan, option: Option, names: list[str], cards: list[int]) -> list[str]:
    parts = option.parts
    cells = [str(_bits(plan, option)), option.way.deepspeed, *(in_gib(parts.device[name]) for name in names)]
    cells.append(in_gib(parts.device_total))
    if plan.on_cpu:
        return [*cells, _yes(option.fits(plan.host_memory, plan.host_memory))]
    cells.append(in_gib(parts.host_total))
    return [*cells, *(_yes(option.fits(card, plan.host_memory)) for card in cards)]


def _bits(plan: Plan, option: Option) -> int:
    """Bits a weight, as they are: unquantized ones of a CPU have 32."""
    is_f32 = plan.settings.model.precision == "f32" or (plan.on_cpu and plan.settings.model.precision == "auto")
    return 32 if option.way.bits == 16 and is_f32 else option.way.bits


def _yes(fits: bool) -> str:
    return "yes" if fits else "no"


def _recommended(plan: Plan) -> Iterator[str]:
    room = f"{in_gib(plan.host_memory)} GiB of host memory"
    if not plan.on_cpu:
        room = f"{in_gib(plan.gpu_memory)} GiB on the card and {room}"
    if plan.recommended:
        option = plan.recommended
        yield f"cheapest that fits {room}: {in_gib(option.parts.device_total)} GiB with"
        yield f"  {command(plan, option)}"
    elif plan.on_cpu or plan.gpu_memory:
        least = min(plan.rows, key=lambda option: option.parts.device_total)
        host = "" if plan.on_cpu else f" there and {in_gib(least.parts.host_total)} GiB of the host"
        yield f"nothing fits {room}: the smallest of these takes {in_gib(least.parts.device_total)} GiB{host}"
    else:
        yield "with --gpu-memory 8GB, or --cpu, the cheapest preset and settings that fit are recommended"


def command(plan: Plan, option: Option) -> str:
    """The `trainer fit` of an option."""
    settings = plan.settings if option.preset == plan.preset else load_settings(option.preset, plan.overrides)
    given = [part for override in plan.overrides for part in ("--set", override)]
    arguments = " ".join([*recommendation(option, settings), *given])
    return f"trainer fit --model {plan.model.name} --data DATA --output ADAPTER {arguments}"


def tree(plan: Plan) -> dict[str, Any]:
    """The plan as JSON has it; amounts in bytes."""
    step = plan.step
    return {
        "model": plan.model.name,
        "preset": plan.preset,
        "parameters": {"base": step.parameters, "in_layers": step.in_layers, "trained": step.trained},
        "batch": {
            "rows": plan.settings.training.batch_size,
            "length": plan.batch.length,
            "trained_tokens": plan.batch.trained,
        },
        "processes": plan.gpus,
        "device": "cpu" if plan.on_cpu else "gpu",
        "estimated": not plan.measured,
        "gpu_memory": plan.gpu_memory or None,
        "host_memory": plan.host_memory,
        "rows": [_row(plan, option) for option in plan.rows],
        "recommended": _chosen(plan, plan.recommended) if plan.recommended else None,
    }


def _chosen(plan: Plan, option: Option) -> dict[str, Any]:
    return {"preset": option.preset, **_row(plan, option), "command": command(plan, option)}


def _row(plan: Plan, option: Option) -> dict[str, Any]:
    limits = (plan.host_memory, plan.host_memory) if plan.on_cpu else (plan.gpu_memory, plan.host_memory)
    return {
        "bits": _bits(plan, option),
        "deepspeed": option.way.deepspeed,
        "gradient_checkpointing": option.checkpointing,
        "max_length": option.max_length,
        "device": {name: round(size) for name, size in option.parts.device.items()},
        "device_total": round(option.parts.device_total),
        "host": {name: round(size) for name, size in option.parts.host.items()},
        "host_total": round(option.parts.host_total),
        "fits": option.fits(*limits) if plan.on_cpu or plan.gpu_memory else None,
        "fits_cards": {f"{card // GIB}GB": option.fits(card, plan.host_memory) for card in CARDS if not plan.on_cpu},
    }
