"""The exam without a screen: `runtime predict`, with nothing in its narration for a terminal to interpret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.errors import ConfigError

if TYPE_CHECKING:
    from runtime.engine import Engine, ModelOptions
    from tui.exam.settings import ExamSettings


def predict_plainly(settings: ExamSettings) -> int:
    """Answer the sheet, tell of it on stderr, and return the exit code.

    Raises:
        ConfigError: no sheet is named, or a wrong file or flag.
        ToolError: the work failed.
    """
    if settings.sheet is None:
        raise ConfigError("no sheet is named, and there is no screen to choose one on", hint="tui predict SHEET …")
    from configs.progress import Shower
    from runtime.batch import PredictRun
    from runtime.narration import report, say

    run = PredictRun(settings.run_of(settings.sheet, settings.sheet_columns, restart=settings.restart), _load)
    bar = Shower("answering", terminal=False)
    told = 0
    for event in run:
        for note in run.notes[told:]:
            say(note)
        told = len(run.notes)
        bar.show(event)
    bar.finish()
    for note in run.notes[told:]:
        say(note)
    assert run.summary is not None
    report(run.summary, run.seconds, run.settings.answers.path, as_json=False)
    return 1 if run.summary.unanswered else 0


def _load(options: ModelOptions) -> Engine:
    from runtime.engine import load_engine
    from runtime.narration import say

    say(f"loading {options.model.name} ...")
    return load_engine(options)
