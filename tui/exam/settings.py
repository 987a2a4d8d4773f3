"""What an exam was asked to be: the command line, checked and turned into nouns."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from configs.errors import ConfigError
from runtime.arguments import model_options
from runtime.engine import ModelOptions
from tui.chats.folder import data_folder
from tui.settings import check_gguf
from tui.words import language_of

if TYPE_CHECKING:  # pydantic and jinja2 are for the thread that reads the sheet
    from runtime.batch import PredictSettings

SHEET_SUFFIXES = (".xlsx", ".xlsm", ".csv", ".tsv", ".json", ".jsonl")


@dataclass(frozen=True, slots=True)
class ExamSettings:
    """One visit to the exam room: the model, the sheet to begin with, and how its answers are written."""

    options: ModelOptions
    sheet: Path | None = None
    """None lets the person choose."""
    output: Path | None = None
    """Of `sheet`; None, and every other sheet's, is `SHEET.answers.csv` in the current folder."""
    columns: Literal["kaggle", "full"] = "kaggle"
    debias: Literal["none", "cyclic", "full", "pride"] = "none"
    fallback: str = ""
    sheet_columns: str = ""
    """As `--sheet-columns` has it."""
    encoding: str = ""
    restart: bool = False
    """Forget the journal of `sheet`, once."""
    overwrite: bool = False
    """Of the output of `sheet`."""
    language: str = "en"
    """One of `words.LANGUAGES`."""
    data_folder: Path = field(default_factory=data_folder)

    @property
    def model_label(self) -> str:
        """The model's name as people know it: the file's, without its ending."""
        return self.options.model.name.removesuffix(".gguf")

    def run_of(self, sheet: Path, roles: str, *, restart: bool = False) -> PredictSettings:
        """The batch run of a sheet: the very one that `runtime predict` makes of the same words.

        Args:
            roles: what the person says the columns are, as `--sheet-columns` has it.

        Raises:
            ConfigError: `roles` cannot be read.
        """
        from configs.sheets import parse_columns
        from runtime.batch import PredictSettings

        named = self._is_named(sheet)
        return PredictSettings(
            sheet=sheet,
            output=self.output_of(sheet),
            model=self.options,
            columns=self.columns,
            debias=self.debias,
            fallback=self.fallback,
            restart=restart,
            overwrite=named and self.overwrite,
            sheet_columns=parse_columns(roles),
            encoding=self.encoding if named else "",
        )

    def output_of(self, sheet: Path) -> Path:
        """Where the answers of a sheet go."""
        if self.output is not None and self._is_named(sheet):
            return self.output
        return Path(f"{sheet.stem}.answers.csv")

    def _is_named(self, sheet: Path) -> bool:
        """Whether it is the sheet of the command line, however it was chosen."""
        return self.sheet is not None and sheet.absolute() == self.sheet.absolute()


def exam_settings(args: argparse.Namespace) -> ExamSettings:
    """Read the parsed command line.

    Raises:
        ConfigError: a file is missing or not what it should be.
    """
    for path in (args.model, *(path for path, _ in args.adapter)):
        check_gguf(path)
    if args.sheet is not None:
        check_sheet(args.sheet)
    elif args.output is not None:
        raise ConfigError(
            f"--output {args.output} belongs to no sheet", hint="name the sheet before it, or leave it out"
        )
    return ExamSettings(
        options=model_options(args),
        sheet=args.sheet,
        output=args.output,
        columns=args.columns or "kaggle",
        debias=args.debias,
        fallback=args.fallback,
        sheet_columns=args.sheet_columns,
        encoding=args.encoding,
        restart=args.restart,
        overwrite=args.overwrite,
        language=args.lang or language_of(),
        data_folder=data_folder(args.data_dir),
    )


def check_sheet(path: Path) -> None:
    """Catch the commonest slips before the screen opens; reading the sheet checks the rest.

    Raises:
        ConfigError: the path leads nowhere, to a folder, or to something that is no sheet.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="name the sheet's file")
    if path.suffix.lower() not in SHEET_SUFFIXES:
        raise ConfigError(f"{path} is none of xlsx, csv, tsv, json and jsonl", hint="save the sheet as one of these")


def is_sheet(path: Path) -> bool:
    """Whether a file of that name and kind is there."""
    try:
        return path.suffix.lower() in SHEET_SUFFIXES and path.is_file()
    except OSError:  # a name too long for any file
        return False
