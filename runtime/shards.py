"""One sheet on several machines without anything between them: each takes the passages of its shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ConfigError
from configs.sheets import SheetRow
from runtime.buckets import MOST_SHARDS, bucket_of


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `count`, counted from 1: every `count`-th bucket of passages."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `2/3`.

        Raises:
            ConfigError: it is not two numbers, or there is no such part.
        """
        number, slash, count = text.partition("/")
        if not slash or not number.isdecimal() or not count.isdecimal():
            raise ConfigError(f"--shard {text} is not NUMBER/COUNT", hint="--shard 1/3 is the first of three")
        shard = cls(int(number), int(count))
        if not 1 <= shard.number <= shard.count <= MOST_SHARDS:
            raise ConfigError(f"there is no shard {text}", hint=f"1/1 to {MOST_SHARDS}/{MOST_SHARDS}, counted from 1")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def path(self, output: Path) -> Path:
        """Where this part of an output goes: `answers.shard-2-of-3.csv` for `answers.csv`."""
        if self.count == 1:
            return output
        return output.with_name(f"{output.stem}.shard-{self.number}-of-{self.count}{output.suffix}")

    def rows(self, rows: Sequence[SheetRow], buckets: int) -> Sequence[SheetRow]:
        """The rows of this part; a row that is no question has no passage, and goes where all of those do."""
        if self.count == 1:
            return rows
        return [row for row in rows if self._has(row.question.passage if row.question else "", buckets)]

    def _has(self, passage: str, buckets: int) -> bool:
        return bucket_of(passage, buckets) % self.count == self.number - 1


WHOLE = Shard()
"""The whole sheet."""
