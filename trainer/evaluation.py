"""Exam accuracy by label probability: the rule that serving answers by (`configs.label_rule`, `configs.spellings`)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812  the name torch's own documentation uses

from configs.calibration import Forecast
from configs.exam import Question
from configs.formats import Formats
from configs.label_rule import by_label, ranked, shares
from configs.prompt import Tokenizer, encode
from configs.spellings import Speller
from trainer.examples import Example

Item = TypeVar("Item")

# Shapes: N = rows of an evaluation, B = rows of a batch, L = tokens, K = kept positions, V = vocabulary, C = labels.


@dataclass(frozen=True, slots=True)
class Probe:
    """One validation question, ready to be scored."""

    question: Question
    context: tuple[int, ...]
    """Ids of the prompt."""
    spellings: tuple[tuple[int, ...], ...]
    """Ids of every spelling of every label."""
    labels: tuple[int, ...]
    """The label, counted from 0, that each spelling stands for."""
    source: str = ""
    """Where the question comes from."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One question's result."""

    probabilities: tuple[float, ...]
    """Of every option; a blank one has 0."""
    place: int
    """The option chosen, counted from 1."""
    answer: int
    """The right one."""
    source: str

    @property
    def is_right(self) -> bool:
        """Whether the right option was chosen."""
        return self.place == self.answer

    @property
    def forecast(self) -> Forecast:
        """For calibration: the options that could be chosen."""
        places = [place for place, share in enumerate(self.probabilities, 1) if share or place == self.answer]
        return Forecast(
            tuple(self.probabilities[place - 1] for place in places),
            places.index(self.place),
            places.index(self.answer),
        )


@dataclass(frozen=True, slots=True)
class Score:
    """Result of an evaluation."""

    rows: tuple[Answered, ...]

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return sum(row.is_right for row in self.rows) / len(self.rows)

    @property
    def loss(self) -> float:
        """Mean negative log probability of the right option among the options."""
        shares_of_right = [row.probabilities[row.answer - 1] for row in self.rows]
        return math.fsum(-math.log(max(share, 1e-300)) for share in shares_of_right) / len(self.rows)


def make_probes(
    examples: Sequence[Example], formats: Formats, tokenizer: Tokenizer, rows: int, seed: int
) -> list[Probe]:
    """Probes of a fixed, seeded choice of `rows` exam rows (0: all of them)."""
    exams = [example for example in examples if example.question]
    if not exams or not formats.question:
        return []
    if rows and rows < len(exams):
        exams = random.Random(seed).sample(exams, rows)  # noqa: S311
    speller = Speller(formats.prompt, formats.question, tokenizer)
    return [make_probe(example, formats, tokenizer, speller) for example in exams]


def make_probe(example: Example, formats: Formats, tokenizer: Tokenizer, speller: Speller) -> Probe:
    """The probe of one exam row."""
    question = example.question
    assert formats.question is not None
    assert question is not None
    prompt = formats.prompt.prompt([{"role": "user", "content": formats.question.text(question)}])
    spellings, labels = speller.spell(prompt, len(question.choices))
    return Probe(question, tuple(encode(prompt, tokenizer)), spellings, labels, example.source)


def evaluate(
    model: torch.nn.Module, probes: Sequence[Probe], *, batch_size: int, padding_id: int, device: torch.device
) -> Score:
    """Score all probes; the ranks share the work, and each runs as many forward passes as the others.

    Returns:
        The same score on every rank, its rows in the order of the probes.
    """
    widest = max(len(probe.question.choices) for probe in probes)
    ordered = sorted(enumerate(probes), key=lambda numbered: len(numbered[1].context))

    def score(batch: Sequence[tuple[int, Probe]]) -> torch.Tensor:
        scores_NC = torch.zeros((len(probes), widest), dtype=torch.float64, device=device)
        found = _score_batch(model, [probe for _, probe in batch], padding_id, device)
        for (number, _), values in zip(batch, found, strict=True):
            scores_NC[number, : len(values)] = torch.tensor(values, dtype=torch.float64, device=device)
        return scores_NC

    scores_NC = summed_over_ranks(model, ordered, batch_size, device, score, (len(probes), widest))
    return Score(tuple(_answered(probe, values) for probe, values in zip(probes, scores_NC.tolist(), strict=True)))


def _answered(probe: Probe, values: Sequence[float]) -> Answered:
    question = probe.question
    assert question.answer is not None
    values = values[: len(question.choices)]
    return Answered(shares(question, values), ranked(question, values)[0], question.answer, probe.source)


def summed_over_ranks(
    model: torch.nn.Module,
    items: Sequence[Item],
    batch_size: int,
    device: torch.device,
    score_batch: Callable[[Sequence[Item]], torch.Tensor],
    shape: tuple[int, ...],
) -> torch.Tensor:
    """Add up what `score_batch` gives, f64 of this shape, over batches of all items, without dropout and gradients."""
    rank, world = _rank_and_world()
    mine = items[rank::world]
    batches = [mine[place : place + batch_size] for place in range(0, len(mine), batch_size)]
    passes = math.ceil(math.ceil(len(items) / world) / batch_size)
    sums = torch.zeros(shape, dtype=torch.float64, device=device)
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
    return sums.cpu()


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _score_batch(
    model: torch.nn.Module, probes: Sequence[Probe], padding_id: int, device: torch.device
) -> list[list[float]]:
    """Log probability of every label, of every probe of one batch."""
    # A spelling's last token needs no position of its own, and what one spelling begins with another may too: only
    # beginnings that none goes on from are sequences. Labels of one token need the context alone.
    stems = [(place, stem) for place, probe in enumerate(probes) for stem in _longest_stems(probe.spellings)]
    sequences = [[*probes[place].context, *stem] for place, stem in stems]
    starts = [len(probes[place].context) - 1 for place, _ in stems]
    log_probs_KV, offsets = _log_probs(model, sequences, starts, padding_id, device)
    found = []
    for place, probe in enumerate(probes):
        own = [(stem, at) for (owner, stem), at in zip(stems, offsets, strict=True) if owner == place]
        values = []
        for spelling in probe.spellings:
            at = next(at for stem, at in own if stem[: len(spelling) - 1] == spelling[:-1])
            rows_K = torch.arange(at, at + len(spelling), device=device)
            values.append(log_probs_KV[rows_K, torch.tensor(spelling, device=device)].double().sum())
        found.append(by_label(probe.labels, torch.stack(values).tolist()))
    return found


def _longest_stems(spellings: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """What spellings begin with, up to their last token, without beginnings of longer such."""
    stems = sorted({spelling[:-1] for spelling in spellings})  # what begins another comes right before one it begins
    return [stem for at, stem in enumerate(stems) if at + 1 == len(stems) or stems[at + 1][: len(stem)] != stem]


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
