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

# Shapes: N = rows of an evaluation, B = rows of a batch, L = tokens, K = kept positions, V = vocabulary, S = spellings.


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
    """Score all probes, `batch_size` sequences in one forward pass; the ranks share the work, and each runs as many
    passes as the others.

    Returns:
        The same score on every rank, its rows in the order of the probes.
    """
    widest = max(len(probe.spellings) for probe in probes)
    sequences = [one for number, probe in enumerate(probes) for one in _sequences(number, probe)]
    sequences.sort(key=lambda one: len(one.ids))

    def score(batch: Sequence[_Sequence]) -> torch.Tensor:
        scores_NS = torch.zeros((len(probes), widest), dtype=torch.float64, device=device)
        _score_batch(model, batch, scores_NS, padding_id, device)
        return scores_NS

    scores_NS = summed_over_ranks(model, sequences, batch_size, device, score, (len(probes), widest))
    return Score(tuple(_answered(probe, values) for probe, values in zip(probes, scores_NS.tolist(), strict=True)))


def _answered(probe: Probe, values: Sequence[float]) -> Answered:
    """The result of a question from the log probability of each of its spellings."""
    question = probe.question
    assert question.answer is not None
    values = by_label(probe.labels, values[: len(probe.spellings)])
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


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A prompt with the beginning of some spellings."""

    number: int
    """Of the probe."""
    ids: tuple[int, ...]
    start: int
    """Position whose logits are about a spelling's first token."""
    spellings: tuple[tuple[int, tuple[int, ...]], ...]
    """(number among the probe's, ids) of the spellings that are scored on it."""


def _sequences(number: int, probe: Probe) -> list[_Sequence]:
    """What has to be run for one probe; each of its spellings is scored once.

    A spelling's last token needs no position of its own, and what one spelling begins with another may too: only
    beginnings that none goes on from are sequences. Labels of one token need the context alone.
    """
    stems = _longest_stems(probe.spellings)
    scored: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {stem: [] for stem in stems}
    for place, spelling in enumerate(probe.spellings):
        first = next(stem for stem in stems if stem[: len(spelling) - 1] == spelling[:-1])
        scored[first].append((place, spelling))
    start = len(probe.context) - 1
    return [_Sequence(number, (*probe.context, *stem), start, tuple(scored[stem])) for stem in stems]


def _longest_stems(spellings: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """What spellings begin with, up to their last token, without beginnings of longer such."""
    stems = sorted({spelling[:-1] for spelling in spellings})  # what begins another comes right before one it begins
    return [stem for at, stem in enumerate(stems) if at + 1 == len(stems) or stems[at + 1][: len(stem)] != stem]


def _score_batch(
    model: torch.nn.Module,
    batch: Sequence[_Sequence],
    scores_NS: torch.Tensor,
    padding_id: int,
    device: torch.device,
) -> None:
    """Write the log probability of every spelling that is scored on these sequences to its place."""
    log_probs_KV, offsets = _log_probs(model, batch, padding_id, device)
    for one, at in zip(batch, offsets, strict=True):
        for place, spelling in one.spellings:
            rows_K = torch.arange(at, at + len(spelling), device=device)
            spelled = log_probs_KV[rows_K, torch.tensor(spelling, device=device)]
            scores_NS[one.number, place] = spelled.double().sum()


def _log_probs(
    model: torch.nn.Module, batch: Sequence[_Sequence], padding_id: int, device: torch.device
) -> tuple[torch.Tensor, list[int]]:
    """(log probabilities [K, V] of what follows each position from `start` on, first row of each sequence)."""
    width = max(len(one.ids) for one in batch)
    ids_BL = torch.tensor([[*one.ids, *[padding_id] * (width - len(one.ids))] for one in batch], device=device)
    keep_BL = torch.zeros_like(ids_BL, dtype=torch.bool)
    offsets, kept = [], 0
    for row, one in enumerate(batch):
        keep_BL[row, one.start : len(one.ids)] = True
        offsets.append(kept)
        kept += len(one.ids) - one.start
    logits_KV = model(input_ids=ids_BL, logits_to_keep=keep_BL, use_cache=False).logits
    return F.log_softmax(logits_KV.float(), dim=-1), offsets
