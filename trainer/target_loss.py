"""The loss over trained positions alone, a chunk of them at a time.

A number for every trained position and every word of the vocabulary is what eats the memory: 1,536 positions of a
55,296-word vocabulary are 324 MiB, and the plain loss holds three such arrays. Behind the logits comes nothing but
the loss, so the gradients of the output matrix's input, and of the matrix where it is trained, are computed chunk by
chunk together with the loss, and no logits are kept.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the name torch's own documentation uses
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from transformers import PreTrainedModel

from trainer.examples import IGNORED

# Shapes: B = rows of a batch, L = tokens, K = trained positions, C = of one chunk, H = width, V = vocabulary.

CHUNK_NUMBERS = 1 << 25
"""Logits computed at once: 128 MiB in f32."""
_PLAIN_HEADS = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures whose logits are the output matrix's product and nothing else."""


class TargetLoss:
    """Computes the summed loss of a model that it prepares once."""

    def __init__(self, model: PeftModel | PreTrainedModel, chunk_numbers: int = CHUNK_NUMBERS) -> None:
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        head = base.get_output_embeddings()
        if isinstance(head, ModulesToSaveWrapper):
            head = head.modules_to_save["default"]
        self._chunk_numbers = chunk_numbers
        self._target_K: torch.Tensor | None = None
        self._scores = False
        self.in_chunks = type(head) is torch.nn.Linear and head.bias is None and base.config.model_type in _PLAIN_HEADS
        """Whether the output matrix allows it; else all logits are made."""
        if self.in_chunks:
            # Called as the module it is, so that ZeRO-3 gathers its weight.
            self._head, self._logits = head, head.forward
            head.forward = self._forward

    def __call__(
        self, model: torch.nn.Module, ids_BL: torch.Tensor, labels_BL: torch.Tensor, **inputs: Any
    ) -> torch.Tensor:
        """Cross entropy in nats, summed over the trained positions: a scalar, 0 where there are none.

        No attention mask: rows are padded at their right, and causal attention does not look there.
        """
        return self.at(model, ids_BL, *_trained(labels_BL), **inputs)

    def score(self, model: torch.nn.Module, ids_BL: torch.Tensor, labels_BL: torch.Tensor) -> torch.Tensor:
        """[the same loss, trained positions whose target was the likeliest], f64, without gradients."""
        return self.score_at(model, ids_BL, *_trained(labels_BL))

    def score_at(
        self, model: torch.nn.Module, ids_BL: torch.Tensor, keep: torch.Tensor, target_K: torch.Tensor
    ) -> torch.Tensor:
        """The same with the positions told."""
        self._scores = True
        try:
            with torch.no_grad():
                return self.at(model, ids_BL, keep, target_K)
        finally:
            self._scores = False

    def at(
        self, model: torch.nn.Module, ids_BL: torch.Tensor, keep: torch.Tensor, target_K: torch.Tensor, **inputs: Any
    ) -> torch.Tensor:
        """The same with the positions told, in any form that transformers takes as `logits_to_keep`."""
        self._target_K = target_K if self.in_chunks else None
        try:
            given = model(input_ids=ids_BL, logits_to_keep=keep, use_cache=False, **inputs).logits
        finally:
            self._target_K = None
        if self.in_chunks:
            return given
        if self._scores:
            return _scores(given.float().flatten(0, -2).log_softmax(-1), target_K)
        return F.cross_entropy(given.float().flatten(0, -2), target_K, reduction="sum")

    def _forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The output matrix's forward: the loss, or scores, while they are asked for, logits otherwise."""
        if self._target_K is None:
            return self._logits(hidden)
        hidden_KH = hidden.flatten(0, -2)
        if self._scores:
            return _scored_in_chunks(hidden_KH, self._head.weight, self._target_K, self._chunk_numbers)
        loss: torch.Tensor = _ChunkedLoss.apply(hidden_KH, self._head.weight, self._target_K, self._chunk_numbers)
        return loss


def _trained(labels_BL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(positions [B, L] whose next token is trained, those tokens [K])."""
    target_BL = F.pad(labels_BL, (0, 1), value=IGNORED)[:, 1:]
    keep_BL = target_BL != IGNORED
    return keep_BL, target_BL[keep_BL]


def _scored_in_chunks(
    hidden_KH: torch.Tensor, weight_VH: torch.Tensor, target_K: torch.Tensor, chunk_numbers: int
) -> torch.Tensor:
    size = max(1, chunk_numbers // len(weight_VH))
    sums = torch.zeros(2, dtype=torch.float64, device=hidden_KH.device)
    for start in range(0, len(hidden_KH), size):
        chunk = slice(start, start + size)
        sums += _scores(F.linear(hidden_KH[chunk], weight_VH).float().log_softmax(-1), target_K[chunk])
    return sums


def _scores(log_probs_KV: torch.Tensor, target_K: torch.Tensor) -> torch.Tensor:
    loss = -log_probs_KV.gather(1, target_K[:, None]).double().sum()
    return torch.stack([loss, (log_probs_KV.argmax(-1) == target_K).sum().double()])


class _ChunkedLoss(torch.autograd.Function):  # type: ignore[misc]  # torch is not followed by mypy
    """Summed cross entropy of hidden @ weight.T, its gradient computed on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, hidden_KH: torch.Tensor, weight_VH: torch.Tensor, target_K: torch.Tensor, chunk_numbers: int
    ) -> torch.Tensor:
        size = max(1, chunk_numbers // len(weight_VH))
        gradient_KH = torch.empty_like(hidden_KH) if ctx.needs_input_grad[0] else None
        gradient_VH = torch.zeros_like(weight_VH, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        loss = hidden_KH.new_zeros((), dtype=torch.float32)
        for start in range(0, len(hidden_KH), size):
            chunk = slice(start, start + size)
            target_C1 = target_K[chunk, None]
            log_probs_CV = F.linear(hidden_KH[chunk], weight_VH).float().log_softmax(-1)
            loss -= log_probs_CV.gather(1, target_C1).sum()
            if gradient_KH is None and gradient_VH is None:
                continue
            # d loss / d logits = softmax - one-hot, written over the log probabilities.
            delta_CV = log_probs_CV.exp_()
            delta_CV.scatter_add_(1, target_C1, delta_CV.new_full((), -1).expand_as(target_C1))
            if gradient_KH is not None:
                gradient_KH[chunk] = delta_CV.to(weight_VH.dtype) @ weight_VH
            if gradient_VH is not None:
                gradient_VH.addmm_(delta_CV.T, hidden_KH[chunk].float())
        ctx.save_for_backward(gradient_KH, gradient_VH)
        ctx.weight_type = weight_VH.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, loss_gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        gradient_KH, gradient_VH = ctx.saved_tensors
        if gradient_KH is not None:
            gradient_KH = gradient_KH * loss_gradient
        if gradient_VH is not None:
            gradient_VH = (gradient_VH * loss_gradient).to(ctx.weight_type)
        return gradient_KH, gradient_VH, None, None
