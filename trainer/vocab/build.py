"""`trainer vocab`: learn pieces from a corpus, append them to a base model's vocabulary, grow its matrices, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs.atomic import output_is_done, sha256_text, staged_folder
from configs.errors import ConfigError
from trainer.base import base_identity, check_base, resolve
from trainer.datasets.kinds import parse_columns
from trainer.datasets.sources import open_sources
from trainer.rewritten import WRITTEN, Replacement, Weights, write_folder
from trainer.tokenizer import TOKENIZER_FILE, SentencePieceTokenizer
from trainer.vocab.candidates import learn
from trainer.vocab.corpus import Corpus
from trainer.vocab.extension import Extension
from trainer.vocab.lengths import Lengths, measure
from trainer.vocab.matrices import token_matrices
from trainer.vocab.model_file import ModelFile, open_model
from trainer.vocab.reachable import fillers, reachable_extension
from trainer.vocab.rows import grown_rows, old_ids

REPORT_FILE = "vocabulary.json"

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
    sample_mb: int = 100
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
    folder = resolve(options.model, "base model")
    check_base(folder)
    if options.output.resolve() == folder.resolve():
        raise ConfigError(f"--output {options.output} is the base itself", hint="name another folder")
    base = ModelFile.read(folder / TOKENIZER_FILE)
    weights = Weights(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    matrices = token_matrices(weights, config, str(folder))
    given = parse_columns(options.columns)
    sources = open_sources([(path, None) for path in options.corpus], options.format, given, options.encoding)
    identity = base_identity(folder)
    fingerprint = _fingerprint(options, identity["sha256"], [source.sha256 for source in sources])
    own = (*WRITTEN, REPORT_FILE)
    if output_is_done(
        options.output, recorded=_recorded(options.output), wanted=fingerprint, overwrite=options.overwrite, own=own
    ):
        return _read_report(options.output), False

    corpus = Corpus(sources, options.split_on)
    counts = corpus.counts
    say(f"{counts.sentences:,} sentences, {counts.characters:,} characters in {counts.texts:,} texts")
    learnt = learn(
        lambda: corpus.training(options.sample_mb * 1_000_000), base,
        kind=options.kind, size=options.size, split_on=options.split_on,
    )  # fmt: skip
    filling = fillers(SentencePieceTokenizer.from_folder(folder), base)
    found, grown = reachable_extension(learnt, base, filling, options.size)
    if not found.texts:
        raise ConfigError("the corpus gives no piece that the base does not have already", hint="give more text")
    kept = base.pieces + len(filling)
    scores = base.normal_pieces()
    ids = [old_ids(text, base, scores) for text in found.texts]
    rows = max(config["vocab_size"], kept + len(ids))
    lengths = measure(corpus.held_out(), base.processor, open_model(grown))
    report = {
        **_report(options, corpus, len(learnt.pieces), found, lengths),
        "pieces": {"before": base.pieces, "after": kept + len(ids)},
        "rows": {"before": config["vocab_size"], "after": rows},
        "base": identity,
        "fingerprint": fingerprint,
    }
    with staged_folder(options.output) as staged:
        (staged / TOKENIZER_FILE).write_bytes(grown)
        replaced = {
            name: Replacement((rows, stored.shape[1]), grown_rows(weights.open(name), kept, ids))
            for name, stored in matrices.items()
        }
        write_folder(staged, folder, weights, replaced, {"vocab_size": rows})
        (staged / REPORT_FILE).write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return report, True


def _report(options: VocabOptions, corpus: Corpus, learnt: int, found: Extension, lengths: Lengths) -> dict[str, Any]:
    counts = corpus.counts
    return {
        "type": options.kind,
        "split_on": options.split_on,
        "size": options.size,
        "learnt": learnt,
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
    }  # fmt: skip


def _fingerprint(options: VocabOptions, base: str, corpus: list[str]) -> str:
    inputs = [base, corpus, options.size, options.kind, options.split_on, options.sample_mb, options.format,
              options.columns, options.encoding]  # fmt: skip
    return sha256_text(json.dumps(inputs, ensure_ascii=False))


def _recorded(output: Path) -> str | None:
    try:
        return str(_read_report(output)["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_report(output: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((output / REPORT_FILE).read_text(encoding="utf-8"))
    return report
