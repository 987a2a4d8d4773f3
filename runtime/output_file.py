"""The output of a batch run: whether it stands already, and how it appears, whole and remembered by the journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done, sha256_bytes, sha256_file, staged_file
from runtime.journal import Journal, journal_path


@dataclass(frozen=True, slots=True)
class OutputFile:
    """Where the output goes; `overwrite` allows to replace one that was made from other inputs."""

    path: Path
    overwrite: bool = False

    def refuse_stranger(self) -> None:
        """An output without a journal is somebody else's: say so before a journal is begun beside it.

        Raises:
            ConfigError: there is one, and it may not be replaced.
        """
        if not journal_path(self.path).exists():
            output_is_done(self.path, recorded=None, wanted="", overwrite=self.overwrite)

    def sha256(self) -> str:
        """Of the output that stands there; empty for none."""
        return sha256_file(self.path) if self.path.is_file() else ""

    def standing(self, journal: Journal[Any], inputs: str) -> dict[str, Any] | None:
        """What the run that wrote the standing output said of itself; None if the output has to be written.

        Raises:
            ConfigError: another output stands there and may not be replaced.
        """
        made, standing = journal.last_output, self.sha256()
        own = made.get("sha256") == standing
        recorded = made.get("inputs") if own else None
        # A run that was allowed to replace this very output, and was killed, leaves its permission to the next; so does
        # one that wrote it without the rows at which the engine had failed.
        resumed = journal.last_run == {"inputs": inputs, "replaces": standing}
        overwrite = self.overwrite or (made.get("failed", 0) > 0 if recorded == inputs else resumed)
        if not output_is_done(self.path, recorded=recorded, wanted=inputs, overwrite=overwrite):
            return None
        summary: dict[str, Any] = made["summary"]
        return summary

    def write(self, data: bytes, journal: Journal[Any], inputs: str, summary: dict[str, Any], failed: int) -> None:
        """Record the output in the journal, then let it appear: whoever is killed in between starts from the journal.

        Args:
            inputs: fingerprint of all that the output depends on.
            summary: what a run that finds it standing will say.
            failed: rows that another run may well compute.
        """
        with staged_file(self.path) as partial:
            partial.write_bytes(data)
            journal.end_run({"inputs": inputs, "sha256": sha256_bytes(data), "failed": failed, "summary": summary})
