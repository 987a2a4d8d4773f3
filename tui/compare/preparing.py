"""Files checked, formats chosen, the sheet read: all that has to be known before the first model is loaded.

Imported late, by the thread that loads: pydantic and jinja2 would keep the first frame waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.sheets import parse_columns
from runtime.compare import SheetSide, contenders, differences, fit_together
from runtime.inputs import SheetFile

if TYPE_CHECKING:
    from configs.sheets import SheetRow
    from tui.compare.settings import CompareSettings


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the models are to be asked with."""

    notes: tuple[str, ...]
    """Sentences a person should read."""
    together: bool
    """Whether both models fit the memory at once."""
    rows: tuple[SheetRow, ...] = ()
    sides: tuple[SheetSide, SheetSide] | None = None
    """None where texts are compared."""


def prepare(settings: CompareSettings) -> Prepared:
    """Check everything.

    Raises:
        ConfigError: a file is not what it should be, or a format is not known.
        ToolError: a model's file is damaged.
    """
    first, second = contenders(settings.models, exam=settings.sheet is not None)
    notes = [*first.notes, *second.notes, *differences(first.plan, second.plan, exam=settings.sheet is not None)]
    together = fit_together(settings.models)
    if settings.sheet is None:
        return Prepared(tuple(dict.fromkeys(notes)), together)
    sheet = SheetFile(settings.sheet, parse_columns(settings.sheet_columns), settings.encoding).read()
    assert first.labels is not None
    assert second.labels is not None
    sides = (
        SheetSide(sheet.rows, first.plan.formats, first.labels),
        SheetSide(sheet.rows, second.plan.formats, second.labels),
    )
    return Prepared(tuple(dict.fromkeys([*notes, *sheet.notes])), together, tuple(sheet.rows), sides)
