"""Several adapters on one base, in the order given: each is checked against what those before it have made."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ToolError
from exporter.as_trained import choose_base
from exporter.sources.adapted_base import adapt
from exporter.sources.adapter_folder import adapter_folder
from exporter.sources.hub import find_folder
from exporter.sources.huggingface import BaseModel
from exporter.sources.peft_adapter import Adapter, open_adapter
from exporter.sources.tokenizer_files import TokenizerFiles, find_tokenizer
from exporter.sources.vocabulary_texts import vocabulary_texts


@dataclass(frozen=True, slots=True)
class Inputs:
    """A base as its adapters leave it, what they add to it, and what a user should know of how they were read."""

    base: BaseModel
    adapters: tuple[Adapter, ...]
    notes: tuple[str, ...]
    quantizer: str = ""
    """What made the values that an adapter trained on a quantized base is merged onto; empty: they are the base's."""


def open_adapters(
    base: BaseModel, requested: Sequence[tuple[str, float]], *, as_trained: bool = False, exact: bool = False
) -> Inputs:
    """Open adapters (folder or hub id, and weight) onto a base.

    Args:
        as_trained: onto the base as the quantizer left it when they were trained.
        exact: tensors that an adapter replaces keep its values, and are not rounded to the base's type.

    Raises:
        ConfigError: an argument names no adapter, or several.
        ToolError: an adapter that cannot be merged, or not together with the others.
    """
    notes: list[str] = []
    folders = []
    for text, _ in requested:
        top = find_folder(text, "adapter")
        folder = adapter_folder(top)
        if folder != top:
            notes.append(f"the adapter taken is {folder}, the only one in {top}")
        folders.append(folder)
    given, quantizer, said = choose_base(base, folders, as_trained=as_trained)
    notes += said
    adapters: tuple[Adapter, ...] = ()
    base = given
    for folder, (_, weight) in zip(folders, requested, strict=True):
        adapter = open_adapter(folder, base, weight=weight)
        if weight != 1.0 and any(change.full or change.tokens for change in adapter.changes.values()):
            notes.append(f"the weight {weight:g} of {folder} applies to what it adds, not to the tensors it replaces")
        base, adapters = adapt(base, adapters, adapter, exact=exact)
    if given.config.tie_word_embeddings and not base.config.tie_word_embeddings:
        notes.append("the adapters change only one side of the tied embeddings: an output matrix of its own is written")
    _check_vocabularies([base.folder, *(adapter.folder for adapter in adapters)])
    return Inputs(base, adapters, tuple(notes), str(quantizer or ""))


def _check_vocabularies(folders: Sequence[Path]) -> None:
    """Each vocabulary must contain the one before: rows that were trained for one token must not serve another."""
    tokenizers = [find_tokenizer(folders[number::-1]) for number in range(len(folders))]
    distinct = [tokenizers[0]]
    distinct += [new for old, new in itertools.pairwise(tokenizers) if not _same_files(old, new)]
    texts = [vocabulary_texts(tokenizer) for tokenizer in distinct] if len(distinct) > 1 else []
    for number, (old, new) in enumerate(itertools.pairwise(texts)):
        odd = next((token for token, text in old.items() if new.get(token) != text), None)
        if odd is not None:
            before, after = (_home(distinct[index]) for index in (number, number + 1))
            raise ToolError(
                f"the vocabulary of {after} does not contain that of {before}: "
                f"token {odd} is {new.get(odd)!r} and not {old[odd]!r}"
            )


def _same_files(left: TokenizerFiles, right: TokenizerFiles) -> bool:
    return left.files.keys() == right.files.keys() and all(
        path == right.files[name] or path.read_bytes() == right.files[name].read_bytes()
        for name, path in left.files.items()
    )


def _home(tokenizer: TokenizerFiles) -> Path:
    return next(iter(tokenizer.files.values())).parent
