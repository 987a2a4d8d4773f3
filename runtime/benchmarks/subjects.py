"""What the benchmarks consist of: subjects by group, and how their files are named."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Name = Literal["ceval", "cmmlu"]
NAMES: tuple[Name, ...] = ("ceval", "cmmlu")


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject of a benchmark."""

    key: str
    """As in file names: `computer_network`."""
    title: str
    """As in prompts: `计算机网络`."""
    group: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark's subjects, and where its folder keeps them."""

    name: Name
    subjects: tuple[Subject, ...]
    splits: tuple[str, ...]
    """Those to be answered, the one with public labels first; `dev` holds the worked examples."""

    def file(self, folder: Path, split: str, subject: str) -> Path:
        """Where a split of a subject is: C-Eval repeats the split in the file's name."""
        return folder / split / (f"{subject}_{split}.csv" if self.name == "ceval" else f"{subject}.csv")

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(subject.group for subject in self.subjects))


def benchmark(name: Name) -> Benchmark:
    """A benchmark by name."""
    tables = tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))
    subjects = tuple(Subject(key, title, group) for group, titles in tables.items() for key, title in titles.items())
    return Benchmark(name, subjects, ("val", "test") if name == "ceval" else ("test",))
