"""The plots and the page, under the house rule for outputs that exist."""

from __future__ import annotations

from pathlib import Path

from configs.atomic import output_is_done, sha256_bytes, sha256_file, staged_file
from configs.errors import ConfigError
from runtime.evaluation.page import page
from runtime.evaluation.tasks import Grades


def write_files(grades: Grades, title: str, *, folder: Path | None, report: Path | None, overwrite: bool) -> list[str]:
    """Write `folder`/NAME.png for every plot, and the page; returns what to tell the user.

    The same grades give the same bytes, so a file that stands already tells by its hash what it was made from.

    Raises:
        ConfigError: another file stands at one of the places, or there are no plots.
    """
    if folder and not grades.plots:
        raise ConfigError("this task has no plots", hint="leave --plots out")
    drawn = grades.plots() if grades.plots and (folder or report) else {}
    files = {folder / f"{name}.png": data for name, data in drawn.items()} if folder else {}
    if report:
        files[report] = page(title, grades.sections, drawn)
    hashes = {path: sha256_bytes(data) for path, data in files.items()}
    standing = {path: sha256_file(path) if path.is_file() else None for path in files}
    done = {
        path: output_is_done(path, recorded=standing[path], wanted=hashes[path], overwrite=overwrite) for path in files
    }
    notes = []
    for path, data in files.items():
        if done[path]:
            notes.append(f"{path} was already made from the same answers")
        else:
            with staged_file(path) as partial:
                partial.write_bytes(data)
            notes.append(f"{path} written")
    return notes
