"""A base model as adapters leave it: replaced tensors and rows, a grown vocabulary, embeddings no longer tied.

What is added (LoRA factors, bias deltas) stays with the adapters; it is summed in float32 on the way. What is replaced
is replaced here, one adapter after the other: the last one wins, and what adapters before it added to a tensor that it
replaces is void.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from configs.errors import ToolError
from exporter.sources.adapter_accounts import same_values
from exporter.sources.adapter_tensors import Change, LoraPair, TokenRows
from exporter.sources.derived_weights import DerivedWeights
from exporter.sources.huggingface import EMBEDDINGS, OUTPUT, BaseModel
from exporter.sources.peft_adapter import Adapter
from exporter.sources.weight_files import Weights
from exporter.tensor import TensorSpec, row_chunks, torch_dtype

if TYPE_CHECKING:
    from torch import Tensor


class AdaptedWeights(DerivedWeights):
    """A base's weights with the tensors and rows that one adapter replaces."""

    def __init__(
        self, base: Weights, specs: Mapping[str, TensorSpec], adapter: Adapter, *, untied: bool, exact: bool
    ) -> None:
        super().__init__(base, specs)
        self._adapter = adapter
        self._untied = untied
        self._exact = exact
        self._rows = {
            name: {row: number for number, row in enumerate(change.tokens.rows)}
            for name, change in adapter.changes.items()
            if change.tokens
        }

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) as [rows, columns] of the base's type; where exact, replaced ones are float32."""
        change = self._adapter.changes.get(name, Change())
        if change.full:
            rows = self._adapter.weights.read_rows(change.full, start, stop)
        else:
            rows = self._base.read_rows(EMBEDDINGS if name == OUTPUT and self._untied else name, start, stop)
        if change.full or change.tokens:
            rows = rows.float() if self._exact else rows.to(torch_dtype(self._specs[name].dtype))
        if change.tokens:
            numbers = self._rows[name]
            for row in range(start, stop):
                if row in numbers:
                    number = numbers[row]
                    rows[row - start] = self._adapter.weights.read_rows(change.tokens.key, number, number + 1)[0]
        return rows


def adapt(
    base: BaseModel, adapters: Sequence[Adapter], adapter: Adapter, *, exact: bool = False
) -> tuple[BaseModel, tuple[Adapter, ...]]:
    """Apply what `adapter` replaces to a base that the adapters before it have changed already.

    Args:
        exact: what is replaced keeps the adapter's values; otherwise they are rounded to the base's type, as PEFT does.

    Returns:
        The base for what follows, and all adapters with what is left of their additions.

    Raises:
        ToolError: the adapter's changes do not go together with those before it.
    """
    adapter = replace(adapter, changes=_without_repetitions(adapter, base, exact=exact))
    untied = base.config.tie_word_embeddings and _unties(adapter)
    if base.config.tie_word_embeddings and not untied:
        adapter = replace(adapter, changes={name: change for name, change in adapter.changes.items() if name != OUTPUT})
    before = tuple(_overridden(earlier, adapter, untied=untied) for earlier in adapters)
    if not untied and not any(change.full or change.tokens for change in adapter.changes.values()):
        return base, (*before, adapter)
    specs = _specs(base, adapter, untied=untied)
    changed = replace(
        base, specs=specs, weights=AdaptedWeights(base.weights, specs, adapter, untied=untied, exact=exact)
    )
    if untied:
        config = base.config.model_copy(update={"tie_word_embeddings": False})
        changed = replace(changed, config=config, raw_config={**base.raw_config, "tie_word_embeddings": False})
    return changed, (*before, adapter)


def _without_repetitions(adapter: Adapter, base: BaseModel, *, exact: bool) -> dict[str, Change]:
    """The changes without full tensors that repeat the base's: PEFT saves those beside trained factors and rows."""
    kept = {}
    for name, change in adapter.changes.items():
        ours = EMBEDDINGS if name == OUTPUT and base.config.tie_word_embeddings else name
        repeats = change.full and same_values(adapter.weights, change.full, base.weights, ours, exact=exact)
        rest = replace(change, full="") if repeats else change
        if rest != Change():
            kept[name] = rest
    return kept


def _unties(adapter: Adapter) -> bool:
    """Whether input and output, tied so far, are two after this adapter."""
    inner, outer = adapter.changes.get(EMBEDDINGS, Change()), adapter.changes.get(OUTPUT, Change())
    if outer == Change():
        return bool(inner.full or inner.pair) and not adapter.config.ensure_weight_tying
    return not (
        _same_tensor(adapter, inner.full, outer.full)
        and _same_rows(adapter, inner.tokens, outer.tokens)
        and _same_pair(adapter, inner.pair, outer.pair)
    )


def _same_tensor(adapter: Adapter, left: str, right: str) -> bool:
    if not (left and right):
        return left == right
    return same_values(adapter.weights, left, adapter.weights, right)


def _same_rows(adapter: Adapter, left: TokenRows | None, right: TokenRows | None) -> bool:
    """PEFT saves the rows of tied matrices once, for the input; without rows of its own the output follows."""
    if right is None:
        return True
    return left is not None and left.rows == right.rows and _same_tensor(adapter, left.key, right.key)


def _same_pair(adapter: Adapter, inner: LoraPair | None, outer: LoraPair | None) -> bool:
    """Whether an embedding's factors are the transposed ones of the output matrix."""
    if inner is None or outer is None:
        return inner is outer
    if inner.scale != outer.scale or outer.magnitude:
        return False
    weights, columns = adapter.weights, adapter.weights.specs[inner.b_name].rows
    return bool((adapter.read_b(inner, 0, columns) == adapter.read_a(outer).T).all()) and all(
        bool((weights.read_rows(outer.b_name, *rows) == weights.read_columns(inner.a_name, *rows).T).all())
        for rows in row_chunks(weights.specs[outer.b_name])
    )


def _overridden(earlier: Adapter, adapter: Adapter, *, untied: bool) -> Adapter:
    """An earlier adapter without what `adapter` makes void, and with both sides where its tied one becomes two."""
    changes = dict(earlier.changes)
    if untied and EMBEDDINGS in changes:
        changes[OUTPUT] = replace(changes[EMBEDDINGS], full="", tokens=None)
    for name, change in adapter.changes.items():
        old = changes.get(name, Change())
        if change.full and name in changes:
            changes[name] = replace(old, pair=None, bias=None)
        elif change.tokens and old.pair:
            raise ToolError(
                f"{adapter.folder} replaces rows of {name}, which {earlier.folder} adapts as a whole; "
                "in one merge the two contradict each other",
                hint="merge one of them first, to a huggingface folder, and the other into that",
            )
    return replace(earlier, changes=changes)


def _specs(base: BaseModel, adapter: Adapter, *, untied: bool) -> dict[str, TensorSpec]:
    """The base's tensors with the shapes that full tensors give them."""
    specs = dict(base.specs)
    if untied:
        specs[OUTPUT] = replace(specs[EMBEDDINGS], name=OUTPUT)
    for name, change in adapter.changes.items():
        if change.full:
            specs[name] = replace(specs[name], shape=adapter.weights.specs[change.full].shape)
    if OUTPUT in specs and specs[OUTPUT].rows != specs[EMBEDDINGS].rows:
        raise ToolError(
            f"{adapter.folder} gives embeddings of {specs[EMBEDDINGS].rows} rows "
            f"and an output matrix of {specs[OUTPUT].rows}"
        )
    return specs
