"""What llama.cpp computes with a GGUF against what the sources say: the one check that sees the metadata at work.

A wrong rotary base, head count or row order leaves every byte plausible; it cannot leave the logits equal. Thresholds
are relative to what can be had: ten times the distance between float64 and the file type's own arithmetic on the same
text, and no less than 1e-5 (f32: largest difference over largest logit) or 1e-6 (f16, bf16: mean KL in nats).
For quantized types the distance is reported without a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from configs.errors import ToolError
from exporter.ggml import llama_child
from exporter.verification.check import Check
from exporter.verification.reference import Arithmetic, MergedModel, reference_logits
from exporter.verification.written import WrittenGguf

if TYPE_CHECKING:
    from torch import Tensor

_LEAST = {"f32": 1e-5, "f16": 1e-6, "bf16": 1e-6}
_MARGIN = 10


def check_logits(written: WrittenGguf, file_type: str, model: MergedModel, ids: Sequence[int]) -> Check:
    """Compare logits after each of `ids`.

    Args:
        file_type: `f32`, `f16`, `bf16` or a quantized type.
    """
    if not llama_child.has_llama_cpp():
        return Check("logits", "not checked", "llama-cpp-python is not installed")
    vocabulary = model.row_count("model.embed_tokens.weight")
    if max(ids) >= vocabulary:
        return Check("logits", "differs", f"the tokenizer gives id {max(ids)}, the embeddings have {vocabulary} rows")
    ways = [Arithmetic("f64")]
    if file_type in _LEAST:
        ways.append(Arithmetic("f32", "" if file_type == "f32" else file_type))
    exact, *same_type = reference_logits(model, ids, ways)
    try:
        found = llama_child.logits(written.path, ids).double()
    except ToolError as error:
        return Check("logits", "differs", str(error))
    if found.shape != exact.shape:
        return Check("logits", "differs", f"llama.cpp gives {found.shape[1]} logits, the sources {exact.shape[1]}")
    agreement = f"same first token after {_agreement(exact, found)} of {len(ids)}"
    if not same_type:
        return Check("logits", "measured", f"KL {divergence(exact, found):.2e} nats to the sources, {agreement}")
    measure = relative_error if file_type == "f32" else divergence
    distance, attainable = measure(exact, found), measure(exact, same_type[0].double())
    limit = max(_LEAST[file_type], _MARGIN * attainable)
    what = "largest difference over largest logit" if file_type == "f32" else "KL in nats"
    sentence = f"{what} {distance:.2e}, {file_type} arithmetic alone {attainable:.2e}, limit {limit:.2e}; {agreement}"
    return Check("logits", "ok" if distance <= limit else "differs", sentence)


def check_distances(written: WrittenGguf, models: Mapping[str, MergedModel], ids: Sequence[int]) -> Check:
    """How far the file is from each of several models that it could have been made from; no verdict."""
    name = "distances"
    if not llama_child.has_llama_cpp():
        return Check(name, "not checked", "llama-cpp-python is not installed")
    try:
        found = llama_child.logits(written.path, ids).double()
    except ToolError as error:
        return Check(name, "differs", str(error))
    distances = {
        title: divergence(reference_logits(model, ids, [Arithmetic("f64")])[0], found)
        for title, model in models.items()
    }
    return Check(name, "measured", ", ".join(f"KL {kl:.2e} nats to {title}" for title, kl in distances.items()))


def relative_error(exact: Tensor, found: Tensor) -> float:
    """Largest difference over largest logit."""
    return float((found - exact).abs().max() / exact.abs().max())


def divergence(exact: Tensor, found: Tensor) -> float:
    """Mean Kullback-Leibler divergence of the distributions over the vocabulary, in nats."""
    truth, other = exact.log_softmax(-1), found.log_softmax(-1)
    return max(0.0, float((truth.exp() * (truth - other)).sum(-1).mean()))


def _agreement(exact: Tensor, found: Tensor) -> int:
    return int((exact.argmax(-1) == found.argmax(-1)).sum())
