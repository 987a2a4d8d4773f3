"""`trainer vocab`: learn pieces from a corpus, append them to a base model's vocabulary, grow its matrices, report."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done, sha256_text, staged_folder
from configs.errors import ConfigError, ToolError
from trainer.base import check_safetensors, weight_files
from trainer.datasets.kinds import parse_columns
from trainer.datasets.sources import check_given, open_sources
from trainer.rewritten import WRITTEN
from trainer.tokenizer import TOKENIZER_FILE
from trainer.vocab.candidates import Learnt, learn
from trainer.vocab.corpus import Corpus, Counts
from trainer.vocab.extension import Extension
from trainer.vocab.fast_tokenizer import TOKENIZER_JSON, Agreement, agreement, write_fast_tokenizer
from trainer.vocab.grown import Base
from trainer.vocab.lengths import Lengths, measure
from trainer.vocab.model_file import ModelFile
from trainer.vocab.reachable import reachable_extension

REPORT_FILE = "vocabulary.json"

_ENOUGH = 0.9
"""Share of `--size`: for the rest of it the corpus is not learnt from once more."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class VocabOptions:
    """What `trainer vocab` was told."""

    corpus: tuple[Path, ...]
    model: str
    output: Path
    size: int = 16_000
    kind: str = "bpe"
    split_on: str = ""
    sample_mb: int = 20
    """Millions of characters to learn from at most."""
    format: str = ""
    columns: str = ""
    encoding: str = ""
    overwrite: bool = False


def extend_base(options: VocabOptions, say: Say) -> tuple[dict[str, Any], bool]:
    """Write the grown base folder.

    Args:
        say: told what a person should know on the way.

    Returns:
        (the report, whether it was made now).

    Raises:
        ConfigError: a bad corpus, base or size, or an output made from other inputs.
        ToolError: a damaged base.
    """
    if options.size < 1 or options.sample_mb < 1:
        raise ConfigError("--size and --sample-mb: expected a number above 0")
    if any(unicodedata.category(sign) == "Cs" for sign in options.split_on):
        raise ConfigError("--split-on: expected characters, in UTF-8")
    base = Base.open(options.model)
    if options.output.resolve() == base.folder.resolve():
        raise ConfigError(f"--output {options.output} is the base itself", hint="name another folder")
    given = parse_columns(options.columns)
    sources = open_sources([(path, None) for path in options.corpus], options.format, given, options.encoding)
    fingerprint = _fingerprint(options, base.identity["sha256"], [source.sha256 for source in sources])
    recorded, own = _recorded(options.output), (*WRITTEN, TOKENIZER_JSON, REPORT_FILE)
    if output_is_done(options.output, recorded=recorded, wanted=fingerprint, overwrite=options.overwrite, own=own):
        return _read_report(options.output), False
    corpus = Corpus(sources, options.split_on)
    check_given(sources, given)
    counts = corpus.counts
    say(f"{counts.sentences:,} sentences, {counts.characters:,} characters in {counts.texts:,} texts")
    if absent := sorted(set(options.split_on) - corpus.alphabet):
        say(f"--split-on: {', '.join(map(repr, absent))} stands nowhere in the corpus")
    learnt, found, extended = _enough(options, corpus, base, say)
    if not found.texts:
        raise ConfigError("the corpus gives no piece that the base does not have already", hint="give more text")
    with staged_folder(options.output) as staged:
        (staged / TOKENIZER_FILE).write_bytes(extended)
        grown, held_out = ModelFile.read(staged / TOKENIZER_FILE), corpus.held_out()
        write_fast_tokenizer(staged, base.folder, grown)
        lengths = measure(held_out, base.model.processor, grown.processor)
        agreed = agreement(staged, grown, held_out)
        report = {
            **_report(options, counts, learnt, found, lengths, agreed),
            "pieces": {"before": base.model.pieces, "after": base.kept + len(found.texts)},
            "rows": {"before": base.rows, "after": base.rows_with(len(found.texts))},
            "base": base.identity,
            "fingerprint": fingerprint,
        }
        base.write_grown(staged, found.texts)
        (staged / REPORT_FILE).write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return report, True


def _enough(options: VocabOptions, corpus: Corpus, base: Base, say: Say) -> tuple[Learnt, Extension, bytes]:
    """(pieces that were learnt, those to append, the extended model): so many that `--size` are new, or all there are.

    Raises:
        ConfigError: the size does not even hold the corpus's new characters.
    """
    known = corpus.alphabet & (base.model.normal_pieces().keys() | {" "})
    if (new := len(corpus.alphabet - known)) > options.size:
        raise ConfigError(
            f"--size {options.size:,} does not hold the {new:,} different characters of the corpus that the base lacks",
            hint="raise it",
        )
    wanted = options.size + len(known)
    while True:
        learnt = learn(
            lambda: corpus.training(options.sample_mb * 1_000_000), base.model,
            # Of so many characters no more pieces can be made.
            kind=options.kind, size=min(wanted, corpus.counts.characters), split_on=options.split_on,
        )  # fmt: skip
        found, extended = reachable_extension(learnt, base.model, base.filling, options.size)
        if learnt.is_all or len(found.texts) >= options.size * _ENOUGH:
            return learnt, found, extended
        wanted *= 2
        say(f"{len(found.texts):,} of {len(learnt.pieces):,} pieces are new: learning more of them")


def _report(
    options: VocabOptions, counts: Counts, learnt: Learnt, found: Extension, lengths: Lengths, agreed: Agreement
) -> dict[str, Any]:
    return {
        "type": options.kind,
        "split_on": options.split_on,
        "size": options.size,
        "learnt": len(learnt.pieces),
        "all_learnt": learnt.is_all,
        "new": len(found.texts),
        "known": found.known,
        "intermediates": list(found.intermediates),
        "unreachable": found.unreachable,
        "beyond_size": found.beyond,
        "corpus": asdict(counts),
        "held_out": asdict(lengths),
        "shorter": 1 - lengths.after / lengths.before,
        "tokens_per_character": {
            "before": lengths.before / lengths.characters, "after": lengths.after / lengths.characters
        },
        "transformers": asdict(agreed),
    }  # fmt: skip


def _fingerprint(options: VocabOptions, base: str, corpus: list[str]) -> str:
    inputs = [base, corpus, options.size, options.kind, options.split_on, options.sample_mb, options.format,
              options.columns, options.encoding]  # fmt: skip
    return sha256_text(json.dumps(inputs, ensure_ascii=False))


def _recorded(output: Path) -> str | None:
    """What the folder says it was made from; None where it is no grown base, or not whole any more."""
    try:
        json.loads((output / TOKENIZER_JSON).read_bytes())
        for path in weight_files(output):
            check_safetensors(path)
        return str(_read_report(output)["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, ToolError):
        return None


def _read_report(output: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((output / REPORT_FILE).read_text(encoding="utf-8"))
    return report
