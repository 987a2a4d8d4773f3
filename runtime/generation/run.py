"""A batch run of free text: records -> replies -> journal -> jsonl. It yields progress and resumes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.atomic import sha256_text
from configs.entity import EntityFormat
from configs.errors import ConfigError
from configs.formats import Formats
from configs.instructions import Records, read_records
from configs.progress import Progress
from runtime.engine import load_engine
from runtime.generation.engine_loop import Generator
from runtime.generation.replies import REPLIES, Generated, Prompts, output_bytes
from runtime.generation.summary import GenerateSummary, standing_summary, summarise
from runtime.grammars import choices_grammar, schema_grammar
from runtime.interface import Engine, ModelOptions, Sampling
from runtime.journal import Journal, journal_path
from runtime.models import ModelPlan, plan_model
from runtime.output_file import OutputFile
from runtime.rows import fingerprint

GENERATION = "replies, 1"
"""Names the rule that turns a record into a reply; a journal written under another is not continued."""


_ENTITY_FORMAT = "msra"


@dataclass(frozen=True, slots=True)
class GenerateSettings:
    """What to answer, with what, and where to."""

    input: Path
    output: Path
    model: ModelOptions
    sampling: Sampling = field(default_factory=Sampling)
    """Without a seed 0 is taken: a batch gives the same texts again."""
    system: str | None = None
    """System text of records without one; None leaves it to the prompt format."""
    instruction: str = ""
    """Put before every input that has no instruction of its own."""
    entity_format: str = ""
    """How the entities of a text are asked for, where the records list entities; empty takes `msra`."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Column -> what it is (see `configs.instructions.parse_roles`)."""
    encoding: str = ""
    schema: Path | None = None
    """JSON Schema that every reply follows."""
    choices: tuple[str, ...] = ()
    """Every reply is one of these."""
    restart: bool = False
    overwrite: bool = False


class GenerateRun:
    """One run of `generate`: iterate it for progress, then read `summary`.

    Args:
        load: makes the engine; called only if a record is left to answer.

    Raises:
        ConfigError: while iterating: a wrong file or flag, an output or journal that is in the way.
        ToolError: while iterating: another run holds the journal, or the engine failed.
    """

    def __init__(self, settings: GenerateSettings, load: Callable[[ModelOptions], Engine] = load_engine) -> None:
        self.settings = settings
        self.notes: list[str] = []
        """Sentences a person should read; grows while the run goes on."""
        self.summary: GenerateSummary | None = None
        self.seconds = 0.0
        """Spent generating: the model was loaded before, the output written after."""
        self._load = load
        self._sampling = replace(settings.sampling, seed=settings.sampling.seed or 0)

    def __iter__(self) -> Iterator[Progress]:
        settings = self.settings
        plan = plan_model(settings.model)
        entity_format = EntityFormat.load(settings.entity_format or _ENTITY_FORMAT)
        records = read_records(
            settings.input,
            roles=settings.roles,
            instruction=settings.instruction,
            entity_format=entity_format,
            encoding=settings.encoding,
        )
        self._check_wording(records)
        grammar = self._grammar()
        self.notes += [*plan.notes, *records.notes]
        self._check()
        output = OutputFile(settings.output, overwrite=settings.overwrite or settings.restart)
        output.refuse_stranger()
        identity = self._identity(plan, grammar)
        wording = entity_format.model_dump_json() if records.entities_worded else ""
        inputs = fingerprint({**identity, "input": records.sha256, "wording": wording, **self._flags()})
        with Journal(journal_path(output.path), identity, REPLIES, restart=settings.restart) as journal:
            made = output.standing(journal, inputs)
            if made:
                self.summary = standing_summary(made)
                return
            journal.begin_run(inputs, output.sha256())
            prompts = Prompts(records.rows, settings.system, identity)
            known = set(journal.results)
            yield from self._compute(prompts, journal, grammar)
            self.summary = summarise(prompts, journal.results, known)
            data = output_bytes(prompts, journal.results)
            counts = {name: value for name, value in asdict(self.summary).items() if name != "already_made"}
            output.write(data, journal, inputs, counts, len(prompts.failed))

    def _compute(self, prompts: Prompts, journal: Journal[Generated], grammar: str) -> Iterator[Progress]:
        """Answer every record that the journal lacks."""
        if prompts.unique.keys() <= journal.results.keys():
            return
        engine = self._load(self.settings.model)
        try:
            self.notes += [note for note in engine.notes if note not in self.notes]
            generator = Generator(engine, self._sampling, self.settings.model.parallel, grammar)
            ids = generator.prepare(prompts.unique)
            missing = {key: tokens for key, tokens in ids.items() if key not in journal.results}
            done, total = len(ids) - len(missing), len(ids)
            yield Progress(done, total, "replies")
            started, tokens = time.monotonic(), 0
            for key, reply in generator.replies(prompts.unique, missing):
                journal.add(key, reply)
                done, tokens = done + 1, tokens + reply.tokens
                self.seconds = time.monotonic() - started
                yield Progress(done, total, "replies", f"{tokens / max(self.seconds, 1e-9):.1f} tokens/s")
            prompts.errors |= generator.errors
            prompts.failed |= generator.failed
            for key, reason in {**generator.errors, **generator.failed}.items():
                journal.refuse(key, reason)
        finally:
            engine.close()

    def _check(self) -> None:
        output = self.settings.output
        if output.is_dir():
            raise ConfigError(f"--output {output} is a folder", hint="give the file's path")
        if output.exists() and output.samefile(self.settings.input):
            raise ConfigError(f"--output {output} is the input itself", hint="choose another path")

    def _check_wording(self, records: Records) -> None:
        name = self.settings.entity_format
        if name and not records.entities_worded:
            raise ConfigError(
                f"--question-format {name} asks for the entities of texts, and {self.settings.input} lists none",
                hint="leave it out",
            )
        if records.entities_worded:
            self.notes.append(f"entities are asked for in the words of {name or _ENTITY_FORMAT}")

    def _grammar(self) -> str:
        settings = self.settings
        if settings.schema and settings.choices:
            raise ConfigError("--schema and --choices cannot both rule a reply", hint="give one of them")
        if settings.schema:
            if not settings.schema.is_file():
                raise ConfigError(f"{settings.schema} does not exist")
            return schema_grammar(settings.schema.read_text(encoding="utf-8-sig", errors="replace"))
        return choices_grammar(settings.choices) if settings.choices else ""

    def _identity(self, plan: ModelPlan, grammar: str) -> dict[str, Any]:
        prompt_format = Formats(plan.formats.prompt).to_toml()
        return {
            "generation": GENERATION,
            "formats": sha256_text(prompt_format),
            "sampling": {**asdict(self._sampling), "stop": list(self._sampling.stop)},
            "grammar": sha256_text(grammar) if grammar else "",
            **plan.identity(),
        }

    def _flags(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "system": settings.system,
            "instruction": settings.instruction,
            "roles": dict(settings.roles),
            "encoding": settings.encoding,
            "ctx_size": settings.model.ctx_size,  # decides which records are too long
        }
