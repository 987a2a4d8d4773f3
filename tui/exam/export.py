"""The answers that are there by now, as a CSV of their own beside the one that the run writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from configs.atomic import staged_file
from configs.errors import ConfigError

if TYPE_CHECKING:
    from configs.exam import QuestionFormat
    from runtime.batch import PredictSettings
    from runtime.report import AnsweredRow, Columns

NOT_COMPUTED = "not computed"


def write_csv(
    path: Path, rows: Sequence[AnsweredRow], columns: Columns, labels: QuestionFormat, settings: PredictSettings
) -> None:
    """Write rows as `runtime predict` writes them; a row that is not answered yet says so.

    Raises:
        ConfigError: the path is the sheet or the run's own output, or Kaggle's CSV cannot hold an ID.
        OSError: the file cannot be written.
    """
    from runtime.report import check_kaggle, csv_bytes

    for taken, what in ((settings.sheet, "the sheet itself"), (settings.answers.path, "written by the run itself")):
        if path.resolve() == taken.resolve():
            raise ConfigError(f"{path} is {what}", hint="choose another name")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="give the CSV's path")
    if columns == "kaggle":
        check_kaggle([row.row for row in rows], labels)
    whole = [row if row.answer or row.error else replace(row, error=NOT_COMPUTED) for row in rows]
    data = csv_bytes(whole, columns, labels, settings.fallback)
    with staged_file(path) as partial:
        partial.write_bytes(data)


def export_path(output: Path, columns: Columns, *, part: str = "") -> Path:
    """Where an export goes unless the person says otherwise: `answers.full.csv` beside `answers.csv`."""
    return output.with_name(".".join(filter(None, (output.stem, part, columns))) + ".csv")
