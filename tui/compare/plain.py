"""Two models compared without a screen: the result on stdout, the narration on stderr."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from configs.progress import Progress, Shower
from runtime.arguments import read_prompt
from tui.compare.differences import Differences, differences
from tui.compare.engines import Engines
from tui.compare.settings import LETTERS
from tui.compare.worker import SIDES, figures_of, seeded
from tui.messages import ReplyFigures
from tui.text import visible

if TYPE_CHECKING:
    from runtime.compare import PairedRow, Verdict
    from runtime.engine import Engine, Sampling
    from tui.compare.preparing import Prepared
    from tui.compare.settings import CompareSettings
    from tui.settings import Load

_SEED_BITS = 31
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Said:
    """What one model replied."""

    text: str
    figures: ReplyFigures


class PlainCompare:
    """Asks both models and writes what they say.

    Args:
        streams: standard input, output and error.
    """

    def __init__(
        self,
        settings: CompareSettings,
        prepared: Prepared,
        loads: tuple[Load, Load],
        streams: tuple[TextIO, TextIO, TextIO],
    ) -> None:
        self._settings = settings
        self._prepared = prepared
        self._engines = Engines(loads, together=prepared.together)
        self._stdin, self._stdout, self._stderr = streams

    def texts(self, *, as_json: bool) -> int:
        """Compare the prompt that was given, the pipe's, or what is typed line by line; returns the exit code.

        Raises:
            ConfigError: the pipe is empty or not UTF-8.
            ToolError: a model could not be loaded or could not reply.
        """
        prompt = self._settings.prompt
        if prompt is None and not self._stdin.isatty():
            prompt = read_prompt(self._stdin)
        for text in [prompt] if prompt is not None else self._typed():
            sampling = seeded(self._settings.sampling, lambda: secrets.randbits(_SEED_BITS))
            said = [self._reply(side, text, sampling) for side in SIDES]
            found = differences(said[0].text, said[1].text)
            if as_json:
                table = text_table(text, self._settings.labels, sampling.seed, said, found)
                self._stdout.write(json.dumps(table, ensure_ascii=False) + "\n")
            else:
                self._stdout.write(text_report(self._settings.labels, said, found))
            self._stdout.flush()
            self._stderr.write(f"[seed {sampling.seed}]\n")
        return 0

    def sheet(self, *, as_json: bool) -> int:
        """Let both answer the sheet and write where they part; 1 if a row was left unanswered.

        Raises:
            ToolError: a model could not be loaded or could not go on.
        """
        from runtime.compare import pair_up, verdict

        assert self._prepared.sides is not None
        for side, sheet in zip(SIDES, self._prepared.sides, strict=True):
            shower = Shower(f"{LETTERS[side]} answers", stream=self._stderr)
            for _ in sheet.score(self._engine(side)):
                shower.show(Progress(len(sheet.results), sheet.total, "questions"))
            shower.finish()
            self._engines.free(side)
        pairs = pair_up(*(sheet.answers() for sheet in self._prepared.sides))
        found = verdict(pairs)
        speeds = [sheet.questions_per_second for sheet in self._prepared.sides]
        names = [sheet.labels.labels for sheet in self._prepared.sides]
        if as_json:
            table = sheet_table(self._settings.labels, pairs, found, speeds, names)
            self._stdout.write(json.dumps(table, ensure_ascii=False) + "\n")
        else:
            self._stdout.writelines(
                f"{visible(line)}\n" for line in sheet_report(self._settings.labels, pairs, found, speeds, names)
            )
        self._stdout.flush()
        return 0 if found.both == found.rows else 1

    def _typed(self) -> Iterator[str]:
        while True:
            self._stderr.write("> ")
            self._stderr.flush()
            line = self._stdin.readline()
            if not line or line.strip() == "/quit":
                return
            if line.strip():
                yield line.strip()

    def close(self) -> None:
        """Free the models."""
        self._engines.close()

    def _engine(self, side: int) -> Engine:
        if not self._engines.loaded(side):
            self._stderr.write(f"loading {LETTERS[side]}: {visible(self._settings.labels[side])} ...\n")
            self._stderr.flush()
        return self._engines.get(side, lambda fraction: True)

    def _reply(self, side: int, text: str, sampling: Sampling) -> Said:
        from runtime.chat import ChatSession

        reply = ChatSession(self._engine(side), system=self._settings.system, sampling=sampling).ask(text)
        for _ in reply:
            pass
        return Said(reply.text.strip(), figures_of(reply))


def text_report(labels: tuple[str, str], said: list[Said], found: Differences) -> str:
    """Both replies under their names, and what the two have of each other."""
    parts = []
    for letter, label, one in zip(LETTERS, labels, said, strict=True):
        figures = one.figures
        speed = f", {figures.tokens_per_second:.1f} tokens/s" if figures.tokens_per_second else ""
        first = f"first after {figures.prompt_seconds:.2f} s"
        parts.append(f"== {letter}: {label} ({figures.tokens} tokens{speed}, {first})\n{one.text}\n")
    same = (
        "the same reply" if found.same else f"{found.similarity:.0%} in common, the first {found.same_until} characters"
    )
    return visible("\n".join([*parts, f"== {same}\n"]))


def text_table(
    prompt: str, labels: tuple[str, str], seed: int | None, said: list[Said], found: Differences
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "prompt": prompt,
        "seed": seed,
        "models": [
            {
                "name": label,
                "text": one.text,
                "finish": one.figures.finish,
                "tokens": one.figures.tokens,
                "tokens_per_second": round(one.figures.tokens_per_second, 2),
                "first_token_seconds": round(one.figures.prompt_seconds, 3),
            }
            for label, one in zip(labels, said, strict=True)
        ],
        "same": found.same,
        "similarity": round(found.similarity, 4),
        "same_until": found.same_until,
    }


def sheet_report(
    labels: tuple[str, str],
    pairs: list[PairedRow],
    found: Verdict,
    speeds: list[float],
    names: list[tuple[str, ...]],
) -> Iterator[str]:
    """The verdict, then every row on which the two disagree, then those without an answer."""
    for letter, label, accuracy, speed in zip(LETTERS, labels, found.accuracies, speeds, strict=True):
        yield f"{letter}: {label}: {accuracy.sentence()}; {speed:.2f} questions/s"
    if found.agreement is not None:
        yield (
            f"the same answer to {found.agreement:.1%} ({found.both - found.differing} of {found.both}); "
            f"the options' probabilities are {found.distance:.1%} apart on average"
        )
    table = found.paired
    if table.rows:
        low, high = table.interval
        yield (
            f"only A right: {table.only_first}, only B right: {table.only_second}; accuracy of A less that of B "
            f"{100 * table.difference:+.1f} % (95 % interval {100 * low:+.1f} to {100 * high:+.1f}), "
            f"McNemar's exact p = {table.p_exact:.3g}"
        )
    for pair in pairs:
        if pair.differs:
            first, second = (name[(place or 1) - 1] for name, place in zip(names, pair.places, strict=True))
            gold = f", label {names[0][pair.gold - 1]}" if pair.gold else ""
            asked = pair.row.question.question if pair.row.question else ""
            shown = " ".join(asked.split())[:_SHOWN_CHARACTERS]
            yield f"row {pair.row.number} (ID {pair.row.id}): A {first}, B {second}{gold}: {shown}"
    for pair in pairs:
        for letter, side in zip(LETTERS, (pair.first, pair.second), strict=True):
            if side.answer is None:
                yield f"row {pair.row.number} (ID {pair.row.id}): {letter} has no answer: {side.error}"


def sheet_table(
    labels: tuple[str, str],
    pairs: list[PairedRow],
    found: Verdict,
    speeds: list[float],
    names: list[tuple[str, ...]],
) -> dict[str, Any]:
    """The same for programs."""
    table = found.paired
    return {
        "rows": found.rows,
        "answered_by_both": found.both,
        "agreement": found.agreement,
        "distance": found.distance,
        "models": [
            {"name": label, "accuracy": accuracy.share, "interval": accuracy.interval, "questions_per_second": speed}
            for label, accuracy, speed in zip(labels, found.accuracies, speeds, strict=True)
        ],
        "labelled": table.rows,
        "only_first_right": table.only_first,
        "only_second_right": table.only_second,
        "difference": table.difference,
        "difference_interval": table.interval,
        "mcnemar_p": table.p_exact,
        "disagreements": [
            {
                "row": pair.row.number,
                "id": pair.row.id,
                "label": pair.gold,
                "answers": list(pair.places),
                "labels": [name[(place or 1) - 1] for name, place in zip(names, pair.places, strict=True)],
                "distance": pair.distance,
            }
            for pair in pairs
            if pair.differs
        ],
        "unanswered": [
            {"row": pair.row.number, "id": pair.row.id, "errors": [pair.first.error, pair.second.error]}
            for pair in pairs
            if not pair.complete
        ],
    }
