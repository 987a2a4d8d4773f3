"""A benchmark's folder -> the records of one question sheet."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from configs.encodings import decode_file
from configs.errors import ConfigError
from configs.exam import Question, QuestionFormat, parse_label
from runtime.benchmarks.subjects import Benchmark, Subject

HEADER = "以下是中国关于{subject}考试的单项选择题，请选出其中的正确答案。"
"""C-Eval's own sentence."""

_OPTIONS = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a subject's file."""

    question: str
    choices: tuple[str, ...]
    answer: str
    """Empty where the labels are not public."""


def sheet_bytes(
    benchmark: Benchmark, folder: Path, *, split: str, shots: int, question_format: QuestionFormat
) -> tuple[bytes, list[str]]:
    """The sheet as jsonl, its passages the header and the worked examples; and the subjects that the folder lacks.

    Raises:
        ConfigError: a file is missing its columns, is none of the benchmark's, or has too few examples.
    """
    if not (folder / split).is_dir():
        raise ConfigError(f"{folder} has no folder {split}", hint=f"{benchmark.name} has dev and {split}")
    found = dict.fromkeys(sorted((folder / split).glob("*.csv")))
    lines, missing = [], []
    for subject in benchmark.subjects:
        path = benchmark.file(folder, split, subject.key)
        if path not in found:
            missing.append(subject.key)
            continue
        del found[path]
        passage = _passage(benchmark, folder, subject, shots, question_format)
        for number, row in enumerate(_read(path)):
            record = {
                "id": f"{subject.key}/{number}",
                "source": subject.key,
                "passage": passage,
                "question": row.question,
                "choices": row.choices,
                "answer": row.answer or None,
            }
            lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    if found:
        raise ConfigError(f"{next(iter(found))} is no subject of {benchmark.name}", hint="move it away")
    if not lines:
        raise ConfigError(f"{folder / split} holds no subject of {benchmark.name}")
    return "".join(lines).encode(), missing


def _passage(benchmark: Benchmark, folder: Path, subject: Subject, shots: int, question_format: QuestionFormat) -> str:
    header = HEADER.format(subject=subject.title)
    if not shots:
        return header
    path = benchmark.file(folder, "dev", subject.key)
    examples = _read(path)
    if len(examples) < shots:
        raise ConfigError(f"{path} has {len(examples)} examples", hint=f"--shots {len(examples)} is the most")
    return "\n\n".join([header, *(_example(row, path, question_format) for row in examples[:shots])])


def _example(row: Row, path: Path, question_format: QuestionFormat) -> str:
    """A question and its label. It is converted later, with the passage that it becomes part of."""
    try:
        place, _ = parse_label(row.answer, len(row.choices))
    except ValueError as error:
        raise ConfigError(f"{path}: the label of an example {error}") from error
    plain = question_format.model_copy(update={"convert": ""})
    return plain.text(Question("", row.question, row.choices)).strip() + plain.label(place)


def _read(path: Path) -> list[Row]:
    """A subject's rows. CMMLU numbers its rows in a column without a name."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist")
    try:
        grid = list(csv.reader(io.StringIO(decode_file(path).text, newline=""), strict=True))
    except csv.Error as error:
        raise ConfigError(f"{path} is not a well-formed table: {error}") from error
    names = [name.strip().lower() for name in grid[0]] if grid else []
    lacking = [name for name in ("question", *_OPTIONS) if name not in names]
    if lacking:
        raise ConfigError(f"{path} has no column {', '.join(lacking)}", hint=f"it has {', '.join(names)}")
    return [_row(dict(zip(names, line, strict=False))) for line in grid[1:] if any(cell.strip() for cell in line)]


def _row(cells: dict[str, str]) -> Row:
    choices = tuple(cells.get(name, "").strip() for name in _OPTIONS)
    return Row(cells["question"].strip(), choices, cells.get("answer", "").strip())
