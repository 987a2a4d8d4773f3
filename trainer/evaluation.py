"""Exam accuracy by label probability: the rule that serving answers by.

All labels of a question share their first tokens (`▁` for alpaca2). The prompt and that common start are evaluated
once; an option's score is the log probability of the rest of its label. Nothing is sampled.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812  the name torch's own documentation uses

from configs.exam import Question, label_ids
from configs.formats import Formats
from configs.prompt import Tokenizer
from trainer.examples import Example

Item = TypeVar("Item")

# Shapes: B = rows of a batch, L = tokens, K = kept positions, V = vocabulary.


@dataclass(frozen=True, slots=True)
class Probe:
    """One validation question, ready to be scored."""

    context: tuple[int, ...]
    """Prompt and common start of the labels."""
    endings: tuple[tuple[int, ...], ...]
    """Rest of each answerable option's label."""
    answer: int
    """Place in `endings` of the right option."""


@dataclass(frozen=True, slots=True)
class Score:
    """Result of an evaluation."""

    accuracy: float
    loss: float
    """Mean negative log probability of the right option among the options."""
    rows: int


def make_probes(
    examples: Sequence[Example], formats: Formats, tokenizer: Tokenizer, rows: int, seed: int
) -> list[Probe]:
    """Probes of a fixed, seeded choice of `rows` exam rows (0: all of them)."""
    questions = [example.question for example in examples if example.question and formats.question]
    if rows and rows < len(questions):
        questions = random.Random(seed).sample(questions, rows)  # noqa: S311
    return [make_probe(question, formats, tokenizer) for question in questions]


def make_probe(question: Question, formats: Formats, tokenizer: Tokenizer) -> Probe:
    """The probe of one question; blank options cannot be answered with."""
    assert formats.question is not None
    assert question.answer is not None
    prompt, labels = label_ids(formats.prompt, formats.question, question, tokenizer)
    shared = _shared_start(labels)
    places = question.answerable
    return Probe(
        context=(*prompt, *labels[0][:shared]),
        endings=tuple(tuple(labels[place - 1][shared:]) for place in places),
        answer=places.index(question.answer),
    )


def _shared_start(labels: Sequence[Sequence[int]]) -> int:
    """Tokens that all labels begin with, leaving each at least one of its own."""
    shortest = min(map(len, labels))
    same = (len({label[place] for label in labels}) == 1 for place in range(shortest - 1))
    return next((place for place, is_same in enumerate(same) if not is_same), shortest - 1)


def evaluate(
    model: torch.nn.Module, probes: Sequence[Probe], *, batch_size: int, padding_id: int, device: torch.device
) -> Score:
    """Score all probes; the ranks share the work, and each runs as many forward passes as the others.

    Returns:
        The same score on every rank.
    """
    ordered = sorted(probes, key=lambda probe: len(probe.context))
    right, loss, rows = summed_over_ranks(
        model, ordered, batch_size, device, lambda batch: _score_batch(model, batch, padding_id, device)
    )
    return Score(right / rows, loss / rows, int(rows))


def summed_over_ranks(
    model: torch.nn.Module,
    items: Sequence[Item],
    batch_size: int,
    device: torch.device,
    score_batch: Callable[[Sequence[Item]], torch.Tensor],
) -> list[float]:
    """Add up what `score_batch` gives (three numbers) over batches of all items, without dropout and gradients."""
    rank, world = _rank_and_world()
    mine = items[rank::world]
    batches = [mine[place : place + batch_size] for place in range(0, len(mine), batch_size)]
    passes = math.ceil(math.ceil(len(items) / world) / batch_size)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for index in range(passes):
            # Under ZeRO-3 a forward pass gathers weights from all ranks: a rank without work runs one for the others.
            is_idle = index >= len(batches)
            sums += score_batch(items[:1] if is_idle else batches[index]) * (not is_idle)
    model.train(was_training)
    if world > 1:
        torch.distributed.all_reduce(sums)
    added: list[float] = sums.tolist()
    return added


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _score_batch(
    model: torch.nn.Module, probes: Sequence[Probe], padding_id: int, device: torch.device
) -> torch.Tensor:
    """[right answers, summed loss, rows] of one batch."""
    # Endings that share all but their last token share a sequence: labels of one more token need only the context.
    stems = [(place, stem) for place, probe in enumerate(probes) for stem in sorted({e[:-1] for e in probe.endings})]
    sequences = [[*probes[place].context, *stem] for place, stem in stems]
    starts = [len(probes[place].context) - 1 for place, _ in stems]
    log_probs_KV, offsets = _log_probs(model, sequences, starts, padding_id, device)
    row_of = dict(zip(stems, offsets, strict=True))
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for place, probe in enumerate(probes):
        scores = torch.stack(
            [sum(log_probs_KV[row_of[place, e[:-1]] + step, id_] for step, id_ in enumerate(e)) for e in probe.endings]
        )
        loss = F.cross_entropy(scores[None], torch.tensor([probe.answer], device=device))
        is_right = (scores.argmax() == probe.answer).double()
        sums += torch.stack([is_right, loss.double(), torch.ones_like(is_right)])
    return sums


def _log_probs(
    model: torch.nn.Module, sequences: list[list[int]], starts: list[int], padding_id: int, device: torch.device
) -> tuple[torch.Tensor, list[int]]:
    """(log probabilities [K, V] of what follows each position from `starts` on, first row of each sequence)."""
    width = max(map(len, sequences))
    ids_BL = torch.tensor([ids + [padding_id] * (width - len(ids)) for ids in sequences], device=device)
    keep_BL = torch.zeros_like(ids_BL, dtype=torch.bool)
    offsets, kept = [], 0
    for row, (ids, start) in enumerate(zip(sequences, starts, strict=True)):
        keep_BL[row, start : len(ids)] = True
        offsets.append(kept)
        kept += len(ids) - start
    logits_KV = model(input_ids=ids_BL, logits_to_keep=keep_BL, use_cache=False).logits
    return F.log_softmax(logits_KV.float(), dim=-1), offsets
