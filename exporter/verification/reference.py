"""What the merged model should say: a Llama's forward pass in torch, streamed over the sources' rows.

No transformers, no llama.cpp, and no matrix is ever whole in memory: each is read in chunks of rows, merged and
multiplied at once. Several arithmetics go through the pass side by side: float64 as the truth, and the arithmetic of
the file's type, whose distance from the truth is what any program could reach with that type.

Shapes: T = tokens, H = hidden, N = heads, K = key-value heads, D = size of a head, V = vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.sources.llama_config import LlamaConfig
from exporter.tensor import TensorJob, row_chunks, torch_dtype
from exporter.verification.rope import rotary_frequencies

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How numbers are kept."""

    dtype: str
    """`f64` or `f32`: of activations and sums."""
    matrices: str = ""
    """Type that a matrix and what it is multiplied with are rounded to; empty for none. (llama.cpp rounds both.)"""

    def cast(self, values: Tensor) -> Tensor:
        """To the type of activations."""
        return values.double() if self.dtype == "f64" else values.float()

    def rounded(self, values: Tensor) -> Tensor:
        """As a factor of a product."""
        return self.cast(values.to(torch_dtype(self.matrices)) if self.matrices else values)


class MergedModel:
    """Base and adapters as one model, whose merged rows are made when they are asked for."""

    def __init__(self, config: LlamaConfig, jobs: Sequence[TensorJob]) -> None:
        """Take the jobs of a huggingface folder: Hugging Face names and row order, in the base's type."""
        self.config = config
        self._jobs: Mapping[str, TensorJob] = {job.target.name: job for job in jobs}

    def __contains__(self, name: str) -> bool:
        return name in self._jobs

    def rows(self, name: str) -> Iterator[tuple[int, Tensor]]:
        """Chunks of a merged tensor: (first row, rows [.., columns])."""
        import torch

        job = self._jobs[name]
        transforms = job.transforms()
        for start, stop in row_chunks(job.target, unit=job.row_unit, chunk_bytes=_CHUNK_BYTES):
            rows = job.read(start, stop)
            for transform in transforms:
                rows = transform(rows, start)
            stored = torch.frombuffer(bytearray(job.encode(rows)), dtype=torch_dtype(job.target.dtype))
            yield start, stored.view(stop - start, -1)

    def vector(self, name: str) -> Tensor:
        """A whole merged vector (a norm or a bias)."""
        import torch

        return torch.cat([rows for _, rows in self.rows(name)]).flatten()

    def row_count(self, name: str) -> int:
        """Rows of a tensor."""
        return self._jobs[name].target.rows


def reference_logits(model: MergedModel, ids: Sequence[int], ways: Sequence[Arithmetic]) -> list[Tensor]:
    """Logits [T, V] of a text in each arithmetic; the sources are read once for all of them.

    Raises:
        ToolError: a rope scaling that is not known here.
    """
    import torch

    with torch.no_grad():
        pass_ = _Pass(model, ways, len(ids))
        states = pass_.embed(ids)
        for layer in range(model.config.num_hidden_layers):
            states = pass_.layer(layer, states)
        states = pass_.norm("model.norm.weight", states)
        return pass_.linear("lm_head" if "lm_head.weight" in model else "model.embed_tokens", states)


class _Pass:
    """One pass over the model. A state is a list: the activations in each arithmetic."""

    def __init__(self, model: MergedModel, ways: Sequence[Arithmetic], length: int) -> None:
        import torch

        self._model, self._ways = model, ways
        frequencies, scale = rotary_frequencies(model.config.rope, model.config.head_dim)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
        self._cos, self._sin = angles.cos() * scale, angles.sin() * scale

    def embed(self, ids: Sequence[int]) -> list[Tensor]:
        import torch

        wanted = torch.tensor(list(ids))
        found: Tensor | None = None
        for start, rows in self._model.rows("model.embed_tokens.weight"):
            found = torch.empty(len(ids), rows.shape[1], dtype=rows.dtype) if found is None else found
            here = (wanted >= start) & (wanted < start + len(rows))
            found[here] = rows[wanted[here] - start]
        assert found is not None
        return [way.rounded(found) for way in self._ways]

    def layer(self, number: int, states: list[Tensor]) -> list[Tensor]:
        prefix = f"model.layers.{number}."
        states = self._add(
            states, self._attention(f"{prefix}self_attn.", self.norm(f"{prefix}input_layernorm.weight", states))
        )
        normed = self.norm(f"{prefix}post_attention_layernorm.weight", states)
        gates = self.linear(f"{prefix}mlp.gate_proj", normed)
        ups = self.linear(f"{prefix}mlp.up_proj", normed)
        wide = [gate * gate.sigmoid() * up for gate, up in zip(gates, ups, strict=True)]
        return self._add(states, self.linear(f"{prefix}mlp.down_proj", wide))

    def linear(self, name: str, states: list[Tensor]) -> list[Tensor]:
        """x @ W.T (+ bias), in chunks of W's rows."""
        factors = [way.rounded(state) for way, state in zip(self._ways, states, strict=True)]
        rows_of = self._model.row_count(f"{name}.weight")
        results = [factor.new_empty(len(factor), rows_of) for factor in factors]
        for start, rows in self._model.rows(f"{name}.weight"):
            for way, factor, result in zip(self._ways, factors, results, strict=True):
                result[:, start : start + len(rows)] = factor @ way.rounded(rows).T
        if f"{name}.bias" in self._model:
            bias = self._model.vector(f"{name}.bias")
            results = [result + way.cast(bias) for way, result in zip(self._ways, results, strict=True)]
        return results

    def norm(self, name: str, states: list[Tensor]) -> list[Tensor]:
        """RMSNorm over the last dimension."""
        weight = self._model.vector(name)
        eps = self._model.config.rms_norm_eps
        return [
            state * (state.square().mean(-1, keepdim=True) + eps).rsqrt() * way.cast(weight)
            for way, state in zip(self._ways, states, strict=True)
        ]

    def _attention(self, prefix: str, states: list[Tensor]) -> list[Tensor]:
        queries, keys, values = (self._heads(prefix, side, states) for side in ("q", "k", "v"))
        mixed = [self._mix(*parts) for parts in zip(queries, keys, values, strict=True)]
        return self.linear(f"{prefix}o_proj", mixed)

    def _heads(self, prefix: str, side: str, states: list[Tensor]) -> list[Tensor]:
        """q, k or v as [N or K, T, D]; q and k normed, where the model does that, and rotated."""
        dim = self._model.config.head_dim
        parts = [part.view(len(part), -1, dim) for part in self.linear(f"{prefix}{side}_proj", states)]
        if f"{prefix}{side}_norm.weight" in self._model:
            parts = self.norm(f"{prefix}{side}_norm.weight", parts)
        turn: Callable[[Tensor], Tensor] = self._rotate if side != "v" else lambda part: part
        return [turn(part.transpose(0, 1)) for part in parts]

    def _rotate(self, heads: Tensor) -> Tensor:
        import torch

        first, second = heads.chunk(2, dim=-1)
        cos, sin = self._cos.to(heads.dtype), self._sin.to(heads.dtype)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    def _mix(self, queries_NTD: Tensor, keys_KTD: Tensor, values_KTD: Tensor) -> Tensor:
        """Causal attention; several query heads share a key-value head. Returns [T, N * D]."""
        groups = len(queries_NTD) // len(keys_KTD)
        keys, values = keys_KTD.repeat_interleave(groups, 0), values_KTD.repeat_interleave(groups, 0)
        scores = queries_NTD @ keys.transpose(1, 2) / math.sqrt(queries_NTD.shape[-1])
        length = scores.shape[-1]
        scores.masked_fill_(scores.new_ones(length, length).triu(1).bool(), -math.inf)
        return (scores.softmax(-1) @ values).transpose(0, 1).flatten(1)

    def _add(self, left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
        return [one + other for one, other in zip(left, right, strict=True)]
