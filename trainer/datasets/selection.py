"""Second pass: which rows are taken, on which side they fall, and what is to be said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.datasets.folder import Row
from trainer.datasets.gather import Entry, Gathering
from trainer.datasets.lengths import Lengths
from trainer.datasets.mixture import Choice
from trainer.datasets.split import FEW_ROWS, validation_rule, wordings

_SHOWN = 80


class Selection:
    """The rows that are taken of what was gathered, split into training and validation."""

    def __init__(self, gathering: Gathering, quotas: Sequence[int], share: float, seed: int) -> None:
        self._gathering = gathering
        self._quotas = quotas
        self._seed = seed
        self._wordings = wordings(lambda: (entry.ending for entry in self._taken()))
        self._validates = validation_rule(
            lambda: ((self._group(entry), entry.opening) for entry in self._taken()), sum(quotas), share, seed
        )
        self._sides: tuple[Counter[int], Counter[int]] = Counter(), Counter()
        self._answers: tuple[Counter[int], Counter[int]] = Counter(), Counter()
        self._characters, self._tokens = Lengths(), Lengths()
        self._truncated = 0
        self._entity_types: Counter[str] = Counter()
        for entry in self._taken():
            self._count(entry)
        self._leakage = self._count_leakage()

    @property
    def train_rows(self) -> int:
        """Rows to train on."""
        return self._sides[False].total()

    def write(self, train: Path, validation: Path) -> None:
        """Write both sides; what the weights leave out is listed with the rejected rows."""
        counts = self._gathering.counts
        with (
            train.open("w", encoding="utf-8", newline="\n") as train_file,
            validation.open("w", encoding="utf-8", newline="\n") as validation_file,
        ):
            for (entry, is_taken), (line, types) in zip(self._entries(), self._gathering.lines(), strict=True):
                if is_taken:
                    self._entity_types.update(types)
                    (validation_file if self._is_validation(entry) else train_file).write(line)
                    continue
                row = Row.from_json(line)
                file = counts[entry.source].file
                self._gathering.reject(file, entry.number, row.id, "left out by the weights", row.asked[:_SHOWN])

    def _entries(self) -> Iterator[tuple[Entry, bool]]:
        """Every row written aside, and whether it is taken: the same ones every time."""
        kept = [counts.kept for counts in self._gathering.counts]
        choices = [
            Choice(quota, rows, f"{self._seed} {source}")
            for source, (quota, rows) in enumerate(zip(self._quotas, kept, strict=True))
        ]
        return ((entry, choices[entry.source].takes_next()) for entry in self._gathering.entries())

    def _taken(self) -> Iterator[Entry]:
        return (entry for entry, is_taken in self._entries() if is_taken)

    def _group(self, entry: Entry) -> int:
        return entry.whole if entry.ending in self._wordings else entry.ending

    def _is_validation(self, entry: Entry) -> bool:
        return self._validates(self._group(entry))

    def _count(self, entry: Entry) -> None:
        side = self._is_validation(entry)
        self._sides[side][entry.source] += 1
        if entry.answer:
            self._answers[side][entry.answer] += 1
        self._characters.add(entry.characters)
        if entry.tokens:
            self._tokens.add(entry.tokens)
        self._truncated += entry.truncated

    def report(self) -> dict[str, Any]:
        """Counts over all sources, once the rows are written: `rows` = `train` + `validation` + `rejected`."""
        counts = self._gathering.counts
        tallies: Counter[str] = sum((one.tallies for one in counts), Counter())
        rows, train, validation = sum(one.rows for one in counts), self.train_rows, self._sides[True].total()
        return {
            "rows": rows,
            "train": train,
            "validation": validation,
            "rejected": rows - train - validation,
            **{name: tallies[name] for name in ("labels_normalised", "blank_options", "turns_cut")},
            "duplicates": sum(one.duplicates for one in counts),
            "left_out_by_weights": sum(one.kept for one in counts) - train - validation,
            "characters": self._characters.summary(),
            "tokens": self._tokens.summary() if self._tokens.rows else None,
            "truncated": self._truncated if self._tokens.rows else None,
            "labels": {
                name: {str(answer): self._answers[side][answer] for answer in sorted(self._answers[side])}
                for side, name in enumerate(("train", "validation"))
            },
            "entities": dict(self._entity_types.most_common()),
            "leakage": self._leakage,
        }

    def source_report(self, place: int) -> dict[str, int]:
        """Counts of one source."""
        counts = self._gathering.counts[place]
        train, validation = (side[place] for side in self._sides)
        return {
            "rows": counts.rows,
            "train": train,
            "validation": validation,
            "rejected": counts.rows - train - validation,
        }

    def _count_leakage(self) -> dict[str, int]:
        """How many validation rows begin like a training row: versions of one text that the split did not see as one.

        Of many validation rows the first 200,000 are looked at; conversations are not.
        """
        sought: Counter[int] = Counter()
        looked_at = 0
        for entry in self._taken():
            if entry.opening and self._is_validation(entry):
                sought[entry.opening] += 1
                looked_at += 1
                if looked_at == FEW_ROWS:
                    break
        met = {entry.opening for entry in self._taken() if entry.opening in sought and not self._is_validation(entry)}
        return {"validation_rows": looked_at, "begin_like_a_training_row": sum(sought[opening] for opening in met)}
