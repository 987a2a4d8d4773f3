"""The loss in chunks: the plain loss and its gradients, without the plain loss's arrays."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny adapted model, a batch of two rows with uneven spans, and the plain loss with its gradients."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("target_loss")
    base = tiny.base(folder / "base")
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), tiny.adapter(base, folder / "adapter"), is_trainable=True
    )
    torch.manual_seed(1)
    ids = torch.randint(3, 600, (2, 70))
    labels = torch.full_like(ids, -100)
    labels[0, 1:70] = ids[0, 1:70]
    labels[1, 20:33] = ids[1, 20:33]
    logits = model(input_ids=ids, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, 640), labels[:, 1:].reshape(-1), reduction="sum"
    )
    (loss / 82).backward()
    return {"model": model, "ids": ids, "labels": labels, "loss": loss.detach(), "gradients": take_gradients(model)}


def take_gradients(model: Any) -> dict[str, Any]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.fixture
def head(parts: dict[str, Any]) -> Any:
    """The output matrix; what a loss does to it is taken back."""
    head = parts["model"].get_output_embeddings()
    yield head
    head.__dict__.pop("forward", None)


@pytest.mark.parametrize("positions", [1, 7, 82, 1000])
def test_loss_and_gradients_are_those_of_the_plain_way(positions: int, parts: dict[str, Any], head: Any) -> None:
    from trainer.target_loss import TargetLoss

    model = parts["model"]
    target_loss = TargetLoss(model, chunk_numbers=positions * 640)
    assert target_loss.in_chunks
    loss = target_loss(model, parts["ids"], parts["labels"])
    assert loss.item() == pytest.approx(parts["loss"].item(), rel=1e-6)
    (loss / 82).backward()
    gradients = take_gradients(model)
    assert gradients.keys() == parts["gradients"].keys()
    assert max(float((gradients[name] - parts["gradients"][name]).abs().max()) for name in gradients) < 2e-7
    assert any(gradient.any() for gradient in gradients.values())
    logits = model(input_ids=parts["ids"]).logits
    assert logits.shape == (2, 70, 640), "the head gives logits again"


def test_no_array_is_larger_than_a_chunk_of_logits(parts: dict[str, Any], head: Any) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    from trainer.target_loss import TargetLoss

    model = parts["model"]

    class Widest(TorchDispatchMode):
        positions = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if getattr(out, "ndim", 0) and out.shape[-1] == 640:
                self.positions = max(self.positions, out.numel() // 640)
            return out

    seen = {}
    for positions in (8, 1000):
        head.__dict__.pop("forward", None)
        target_loss = TargetLoss(model, chunk_numbers=positions * 640)
        with Widest() as widest:
            target_loss(model, parts["ids"], parts["labels"]).backward()
            target_loss.score(model, parts["ids"], parts["labels"])
        seen[positions] = widest.positions
        model.zero_grad()
    # The transposed weight is 64 rows of 640.
    assert seen == {8: 64, 1000: 82}


@pytest.mark.parametrize("positions", [7, 1000])
def test_scores_are_those_of_all_logits(positions: int, parts: dict[str, Any], head: Any) -> None:
    import torch

    from trainer.target_loss import TargetLoss

    model, ids, labels = parts["model"], parts["ids"], parts["labels"]
    target_loss = TargetLoss(model, chunk_numbers=positions * 640)
    likeliest = model(input_ids=ids).logits.argmax(-1)
    # Every second target is the likeliest token, so that some are right.
    targets = labels.clone()
    targets[:, 2::2] = torch.where(labels[:, 2::2] == -100, -100, likeliest[:, 1:-1:2])
    right = int(((likeliest[:, :-1] == targets[:, 1:]) & (targets[:, 1:] != -100)).sum())
    wanted = target_loss(model, ids, targets).item()
    assert 35 < right < 82
    for in_chunks in (True, False):
        target_loss.in_chunks = in_chunks
        loss, found = target_loss.score(model, ids, targets).tolist()
        assert (found, loss) == (right, pytest.approx(wanted, rel=1e-6))


@pytest.mark.parametrize("positions", [7, 1000])
def test_a_trained_output_matrix_gets_the_plain_ways_gradient(positions: int, parts: dict[str, Any], head: Any) -> None:
    import torch

    from trainer.target_loss import TargetLoss

    model = parts["model"]
    head.weight.requires_grad_(True)
    try:
        target = parts["labels"][:, 1:]
        logits = model(input_ids=parts["ids"], use_cache=False).logits[:, :-1]
        plain = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum")
        (plain / 82).backward()
        wanted = take_gradients(model)
        target_loss = TargetLoss(model, chunk_numbers=positions * 640)
        assert target_loss.in_chunks
        loss = target_loss(model, parts["ids"], parts["labels"])
        assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
        (loss / 82).backward()
        found = take_gradients(model)
    finally:
        head.weight.requires_grad_(False)
    assert found.keys() == wanted.keys()
    assert any(name.endswith("lm_head.weight") for name in found)
    assert max(float((found[name] - wanted[name]).abs().max()) for name in found) < 1e-6


def test_an_empty_target_is_a_loss_of_zero(parts: dict[str, Any], head: Any) -> None:
    from trainer.target_loss import TargetLoss

    nothing = parts["labels"].clone().fill_(-100)
    assert TargetLoss(parts["model"])(parts["model"], parts["ids"], nothing).item() == 0
